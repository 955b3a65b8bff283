import { createHash, timingSafeEqual } from 'node:crypto';
import { Metadata } from '@grpc/grpc-js';
import { Inject, Injectable } from '@nestjs/common';
import { Problem } from '@sluice/problem';
import type { Call } from '@sluice/service';
import { DataSource } from 'typeorm';
import { AuditLog } from '../audit/audit-log.js';
import { Throttles } from '../protection/throttles.js';
import { UUID } from '../sessions/sessions.js';
import { SETTINGS, type UserSettings } from '../settings.js';
import type { TokenCall } from '../tokens/refresh-cookie.js';
import { CLIENT } from '../tokens/token-issuer.js';
import { ASSERTION_TYPE, checkAssertion, clientOfAssertion } from './assertion.js';
import { clientSecretDigest } from './client-secret.js';
import { type ClientRow, serviceAccountStore } from './service-account-store.js';

/** The members of a request that name its client (RFC 6749 section 2.3.1, RFC 7521 section 4.2). */
export interface ClientCredentials {
  readonly client_id: string;
  readonly client_secret: string;
  readonly client_assertion_type: string;
  readonly client_assertion: string;
}

interface ShownClient {
  readonly id: string;
  readonly secret: string;
  readonly assertion: string;
  /** It came as `Authorization: Basic`. */
  readonly basic: boolean;
}

/** Whether this is the sid of a service account's token: `svc:`, the account and its epoch. */
export const isServiceSid = (sid: string): boolean => sid.startsWith('svc:');
export const serviceSid = ({ id, token_epoch }: Pick<ClientRow, 'id' | 'token_epoch'>): string =>
  `svc:${id}:${token_epoch}`;

/** Who the client of a request to an OAuth endpoint is: the public one, which has no secret, or a service account. */
@Injectable()
export class Clients {
  constructor(
    private readonly dataSource: DataSource,
    private readonly throttles: Throttles,
    private readonly audit: AuditLog,
    @Inject(SETTINGS) private readonly settings: UserSettings,
  ) {}

  /**
   * @returns undefined: the public client, which need not name itself
   * @throws Problem UNAUTHENTICATED: `invalid_client` of RFC 6749 section 5.2, with a challenge to who came with `Authorization`;
   *   INVALID_ARGUMENT for more than one way at once; RATE_LIMIT_EXCEEDED after too many that were wrong
   */
  async authenticate(
    call: Call,
    request: ClientCredentials,
    metadata: Metadata | undefined,
    grpc: TokenCall | undefined,
  ): Promise<ClientRow | undefined> {
    const shown = readShown(request, metadata);
    try {
      if (shown === 'malformed') throw invalidClient('The Basic credentials cannot be read (RFC 6749 section 2.3.1).');
      if (shown.id === '' || shown.id === CLIENT) {
        if (shown.secret === '' && shown.assertion === '') return undefined;
        throw invalidClient(`The client ${CLIENT} is public and has no secret; leave client_secret out.`);
      }
      return await this.confidential(call, shown);
    } catch (error) {
      const basic = shown === 'malformed' || shown.basic;
      if (basic && error instanceof Problem && error.details['oauth_error'] === 'invalid_client') challenge(grpc);
      throw error;
    }
  }

  /**
   * What is right passes, whatever strangers have counted against it; what is wrong is counted by client and address. Of 256 random
   * bits nothing can be guessed: what is bounded is what guesses cost.
   */
  private async confidential(call: Call, shown: ShownClient): Promise<ClientRow> {
    const client = UUID.test(shown.id)
      ? await serviceAccountStore.findClient(this.dataSource, call, shown.id)
      : undefined;
    const fault = client ? await this.faultOf(call, client, shown) : unknownClient;
    if (client && fault === undefined) {
      if (client.locked) throw invalidClient('The service account is locked.');
      if (client.tenant_closed) throw invalidClient('The tenant of the service account is closed.');
      return client;
    }
    const keys = this.throttles.keysOf('client', shown.id, call.clientAddress);
    await this.throttles.check(call, keys);
    await this.throttles.failed(call, keys);
    if (client) {
      const event = { tenant: client.tenant, action: 'client.token', outcome: 'wrong', subject: client.id } as const;
      await this.audit.record(call, event);
    }
    throw invalidClient(fault ?? unknownClient);
  }

  /** Why what was shown is not the client's; undefined when it is. */
  private async faultOf(call: Call, client: ClientRow, shown: ShownClient): Promise<string | undefined> {
    if (shown.assertion === '') {
      const digest = clientSecretDigest(shown.secret);
      // Each of the two is compared, in constant time.
      const right = client.digests.map((kept) => timingSafeEqual(kept, digest)).includes(true);
      return right ? undefined : unknownClient;
    }
    const issuer = this.settings.TOKEN_ISSUER;
    const audiences = [issuer, `${issuer.replace(/\/$/, '')}/oauth/token`];
    const checked = await checkAssertion(shown.assertion, client, audiences, Date.now());
    if (typeof checked === 'string') return checked;
    const digest = createHash('sha256').update(`${client.id} ${checked.jti}`).digest();
    const taken = await serviceAccountStore.takeAssertion(this.dataSource, call, digest, checked.refusedFromMs);
    return taken ? undefined : 'client_assertion was shown before: each is good for one request (its jti).';
  }
}

const unknownClient = 'The client is not known, or its credentials are wrong.';

function readShown(request: ClientCredentials, metadata: Metadata | undefined): ShownClient | 'malformed' {
  const basic = readBasic(String(metadata?.get('authorization')[0] ?? ''));
  if (basic === 'malformed') return basic;
  const { client_secret, client_assertion, client_assertion_type } = request;
  const ways = [basic !== undefined, client_secret !== '', client_assertion !== ''].filter(Boolean).length;
  if (ways > 1)
    throw invalidRequest('client_secret', 'The client shows itself in more than one way (RFC 6749 section 2.3).');
  if ((client_assertion !== '' || client_assertion_type !== '') && client_assertion_type !== ASSERTION_TYPE) {
    throw invalidRequest('client_assertion_type', `client_assertion_type must be ${ASSERTION_TYPE}.`);
  }
  if (client_assertion_type !== '' && client_assertion === '') {
    throw invalidRequest('client_assertion', 'client_assertion is missing.');
  }
  const named = client_assertion === '' ? basic?.id : (clientOfAssertion(client_assertion) ?? '(none)');
  if (named !== undefined && request.client_id !== '' && request.client_id !== named) {
    throw invalidRequest('client_id', 'client_id is another one than that of the credentials.');
  }
  return {
    id: named ?? request.client_id,
    secret: basic?.secret ?? client_secret,
    assertion: client_assertion,
    basic: basic !== undefined,
  };
}

/** RFC 7617 section 2, whose parts are form-encoded (RFC 6749 section 2.3.1). Other schemes are not for the client. */
function readBasic(authorization: string): { id: string; secret: string } | 'malformed' | undefined {
  const encoded = /^Basic(?: +(.*))?$/i.exec(authorization);
  if (encoded === null) return undefined;
  const text = Buffer.from(encoded[1] ?? '', 'base64').toString();
  const colon = text.indexOf(':');
  if (colon < 1) return 'malformed';
  const [id, secret] = [formDecoded(text.slice(0, colon)), formDecoded(text.slice(colon + 1))];
  return id === undefined || secret === undefined ? 'malformed' : { id, secret };
}

function formDecoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return undefined;
  }
}

function invalidClient(detail: string): Problem {
  return new Problem('UNAUTHENTICATED', detail, { details: { oauth_error: 'invalid_client' } });
}

function invalidRequest(field: string, detail: string): Problem {
  return new Problem('INVALID_ARGUMENT', detail, { details: { field, oauth_error: 'invalid_request' } });
}

function challenge(call: TokenCall | undefined): void {
  const metadata = new Metadata();
  metadata.set('www-authenticate', `Basic realm="${CLIENT}"`);
  call?.sendMetadata(metadata);
}
