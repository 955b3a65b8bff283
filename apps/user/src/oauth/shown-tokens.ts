import { Inject, Injectable } from '@nestjs/common';
import type { userV1 } from '@sluice/contract';
import { createVerifier, type TokenVerifier } from '@sluice/identity';
import { Problem } from '@sluice/problem';
import { transaction } from '@sluice/storage';
import { DataSource } from 'typeorm';
import type { Call, Caller } from '@sluice/service';
import { isServiceSid, serviceSid } from '../clients/clients.js';
import { type ClientRow, serviceAccountStore } from '../clients/service-account-store.js';
import { toJwk } from '../keys/key.controller.js';
import { Keys } from '../keys/keys.js';
import { AuditLog } from '../audit/audit-log.js';
import { parseRefreshToken } from '../sessions/refresh-token.js';
import { Sessions } from '../sessions/sessions.js';
import { SETTINGS, type UserSettings } from '../settings.js';

const INACTIVE: userV1.IntrospectResponse = { active: false, roles: undefined };

/** Tokens that are shown to be ended (RFC 7009) or asked about (RFC 7662). */
@Injectable()
export class ShownTokens {
  private readonly verifier: TokenVerifier;

  constructor(
    private readonly keys: Keys,
    private readonly sessions: Sessions,
    private readonly dataSource: DataSource,
    private readonly audit: AuditLog,
    @Inject(SETTINGS) settings: UserSettings,
  ) {
    this.verifier = createVerifier({
      issuer: settings.TOKEN_ISSUER,
      // Also tokens that service accounts have for others.
      audience: undefined,
      typ: 'at+jwt',
      keys: async () => ({ keys: keys.current.published.map((key) => ({ ...toJwk(key) })) }),
      keyCoolDownMs: 100,
      keyMaxAgeMs: 1000,
      cacheSize: 1000,
    });
  }

  /**
   * Ends the session of an access token or refresh token, or every token that the service account of one has. Text that is neither is
   * no error.
   *
   * @param client the service account that asks; undefined: anyone who has the token
   * @throws Problem INVALID_ARGUMENT for a token of somebody else than the client (RFC 7009 section 2.1)
   */
  async revoke(call: Call, client: ClientRow | undefined, token: string): Promise<void> {
    const sessionId =
      parseRefreshToken(this.keys.current.refreshSecret, token)?.sessionId ?? (await this.verify(token))?.session;
    if (sessionId === undefined || sessionId === '') return;
    if (client && !sessionId.startsWith(`svc:${client.id}:`)) {
      throw new Problem('INVALID_ARGUMENT', 'The token was not issued to this client.', {
        details: { field: 'token', oauth_error: 'unauthorized_client' },
      });
    }
    if (isServiceSid(sessionId)) await this.endServiceTokens(call, sessionId);
    else await this.sessions.revokeShown(call, sessionId);
  }

  /** What is known about a token of the asker's tenant. The token of another tenant is not active to the asker. */
  async introspect(call: Call, asker: Caller, token: string): Promise<userV1.IntrospectResponse> {
    const refresh = parseRefreshToken(this.keys.current.refreshSecret, token);
    const verified = refresh ? undefined : await this.verify(token);
    const sessionId = refresh?.sessionId ?? verified?.session;
    if (sessionId === undefined || sessionId === '') return INACTIVE;
    if (isServiceSid(sessionId)) return this.introspectService(call, asker, sessionId, token);
    const standing = await this.sessions.find(call, sessionId);
    if (!standing?.alive) return INACTIVE;
    if (standing.tenant !== asker.tenant && !asker.roles.includes('gateway')) return INACTIVE;
    const roles = listOf(standing.roles);
    const common = { active: true, sub: standing.user_id, sid: sessionId, tid: standing.tenant, roles };
    if (refresh) return refresh.generation === standing.generation ? { ...common, client_id: 'sluice' } : INACTIVE;
    const { iss, aud, iat, exp, jti, client_id, scope } = payloadOf(token);
    return { ...common, iss, aud, iat, exp, jti, client_id, scope, token_type: 'Bearer' };
  }

  private async introspectService(call: Call, asker: Caller, sid: string, token: string) {
    const client = await serviceAccountStore.findClient(this.dataSource, call, accountOf(sid));
    if (!client || client.locked || client.tenant_closed || serviceSid(client) !== sid) return INACTIVE;
    if (client.tenant !== asker.tenant && !asker.roles.includes('gateway')) return INACTIVE;
    const { iss, aud, iat, exp, jti, client_id, scope } = payloadOf(token);
    const said = { iss, aud, iat, exp, jti, client_id, scope, token_type: 'Bearer' };
    return { active: true, sub: client.id, sid, tid: client.tenant, roles: listOf(client.roles), ...said };
  }

  private async endServiceTokens(call: Call, sid: string): Promise<void> {
    const id = accountOf(sid);
    const epoch = Number(sid.slice(sid.lastIndexOf(':') + 1));
    await transaction(this.dataSource, call, async (manager) => {
      const [[ended]] = await manager.query<[{ tenant: string }[], number]>(
        `update service_accounts set token_epoch = token_epoch + 1 where id = $1 and token_epoch = $2 returning tenant`,
        [id, epoch],
      );
      if (!ended) return;
      const event = { action: 'session.revoke', outcome: 'success', subject: id, sessionId: sid } as const;
      await this.audit.recordWithin(manager, call, { tenant: ended.tenant, ...event });
    });
  }

  private async verify(token: string) {
    try {
      return await this.verifier.verify(token);
    } catch (error) {
      if (error instanceof Problem && error.status < 500) return undefined;
      throw error;
    }
  }
}

const accountOf = (sid: string) => sid.split(':')[1] ?? '';

/** As proto-loader writes a google.protobuf.ListValue, for which the generated type says an array. */
function listOf(texts: readonly string[]): unknown[] {
  return { values: texts.map((text) => ({ stringValue: text })) } as unknown as unknown[];
}

/** The claims of a token of our own whose signature has been checked. */
function payloadOf(token: string) {
  return JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString()) as {
    iss: string;
    aud: string;
    iat: number;
    exp: number;
    jti: string;
    client_id: string;
    scope: string;
  };
}
