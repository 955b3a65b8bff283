import { timingSafeEqual, createHash } from 'node:crypto';
import type { Metadata } from '@grpc/grpc-js';
import { callerSecretFor } from '@sluice/config';

/** Who is calling, as the gateway found out. */
export interface Caller {
  /** The `sub` of the token. */
  readonly subject: string;
  readonly tenant: string;
  /** The `sid` of the token; empty for callers without a session. */
  readonly session: string;
  readonly roles: readonly string[];
  readonly scope: string;
  readonly guest: boolean;
  /** The caller's e-mail address is known not to be verified. */
  readonly unverified?: true;
  /** The account of the key or token that the caller's budget is charged to; empty: the tenant's root. */
  readonly account: string;
  /** The id of the API key that the caller came with; empty without one. */
  readonly key: string;
  /** The models that the key is for; empty: any. */
  readonly models: readonly string[];
}

/** What a service knows about the origin of a call. */
export interface Origin {
  readonly caller: Caller | undefined;
  /** The tenant that the call is for: the caller's or, when nobody is signed in, what the gateway was told by header or host; empty: nothing. */
  readonly tenant: string;
  /** The address of the client as the gateway saw it, or of who calls without a gateway. */
  readonly clientAddress: string;
  /** The service that calls on behalf of the caller, as its secret has proved; empty when the gateway calls. */
  readonly service: string;
}

const nobody: Origin = { caller: undefined, tenant: '', clientAddress: '', service: '' };
const digest = (text: string) => createHash('sha256').update(text).digest();

/**
 * Reads identity metadata (`x-sluice-*`). They are believed when `x-sluice-gateway-secret` proves who speaks (compared in constant time),
 * or when there is no secret and the service listens on loopback only. A call that does not prove itself is nobody's, from the address
 * that it came from: limits by address hold for it as well.
 *
 * The secret of this service proves the gateway. A service that calls on behalf of a caller says so (`x-sluice-service`), and has a secret
 * for that name alone: it can neither leave the name out nor take another. It speaks for no one's roles: it never is an operator.
 *
 * @param gatewaySecret GATEWAY_SECRET of this service
 * @param everyone who calls when nobody is signed in at the gateway; undefined: nobody
 */
export function originReader(
  gatewaySecret: string | undefined,
  loopbackOnly: boolean,
  everyone?: Caller,
): (metadata: Metadata, peer: string) => Origin {
  const ofGateway = gatewaySecret === undefined ? undefined : digest(gatewaySecret);
  const proves = (metadata: Metadata, service: string): boolean => {
    if (gatewaySecret === undefined || ofGateway === undefined) return loopbackOnly;
    const expected = service === '' ? ofGateway : digest(callerSecretFor(service, gatewaySecret));
    return timingSafeEqual(digest(first(metadata, 'x-sluice-gateway-secret')), expected);
  };
  return (metadata, peer) => {
    const service = first(metadata, 'x-sluice-service');
    return proves(metadata, service)
      ? read(metadata, service, everyone)
      : { ...nobody, clientAddress: addressOf(peer) };
  };
}

function read(metadata: Metadata, service: string, everyone: Caller | undefined): Origin {
  const subject = first(metadata, 'x-sluice-subject');
  const clientAddress = first(metadata, 'x-sluice-client-ip');
  const tenant = first(metadata, 'x-sluice-tenant');
  if (subject === '') return { caller: everyone, tenant, clientAddress, service };
  const caller: Caller = {
    subject,
    tenant,
    session: first(metadata, 'x-sluice-session'),
    roles: service === '' ? first(metadata, 'x-sluice-roles').split(',').filter(Boolean) : [],
    scope: first(metadata, 'x-sluice-scope'),
    guest: first(metadata, 'x-sluice-guest') === 'true',
    ...(first(metadata, 'x-sluice-unverified') === 'true' && { unverified: true }),
    account: first(metadata, 'x-sluice-account'),
    key: first(metadata, 'x-sluice-key'),
    models: first(metadata, 'x-sluice-models').split(',').filter(Boolean),
  };
  return { caller, tenant, clientAddress, service };
}

/** Of `address:port`, as servers name their peers; an IPv4 address in IPv6 is the IPv4 address. */
function addressOf(peer: string): string {
  return peer
    .replace(/:\d+$/, '')
    .replace(/^\[|\]$/g, '')
    .replace(/^::ffff:(?=\d+\.)/, '');
}

function first(metadata: Metadata, key: string): string {
  return String(metadata.get(key)[0] ?? '');
}
