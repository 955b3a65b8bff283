import { randomInt, randomUUID, sign, type KeyObject } from 'node:crypto';

/** What an access token says (RFC 9068 section 2.2); our own: `sid` session, `tid` tenant, `guest`. */
export interface AccessTokenClaims {
  readonly iss: string;
  readonly aud: string;
  readonly sub: string;
  readonly client_id: string;
  readonly sid: string;
  readonly tid: string;
  readonly roles: readonly string[];
  readonly scope: string;
  readonly guest?: true;
}

export interface AccessToken {
  readonly text: string;
  /** Until it expires. */
  readonly expiresInSeconds: number;
}

/** An access token expires up to this part of its lifetime earlier, so that tokens issued together do not expire together. */
const JITTER = 0.05;

/**
 * Signs a JWT of type `at+jwt` with ES256 (RFC 9068, RFC 7518 section 3.4).
 *
 * @param lifetimeSeconds at most; less the jitter
 * @param notAfterMs the token expires by then in any case, in milliseconds since the epoch
 */
export function signAccessToken(
  key: { readonly kid: string; readonly privateKey: KeyObject },
  claims: AccessTokenClaims,
  lifetimeSeconds: number,
  notAfterMs: number,
  nowMs = Date.now(),
): AccessToken {
  const iat = Math.floor(nowMs / 1000);
  const jittered = lifetimeSeconds - randomInt(Math.floor(lifetimeSeconds * JITTER) + 1);
  const exp = Math.min(iat + jittered, Math.floor(notAfterMs / 1000));
  const header = encode({ alg: 'ES256', typ: 'at+jwt', kid: key.kid });
  const payload = encode({ ...claims, iat, exp, jti: randomUUID() });
  const signature = sign('sha256', Buffer.from(`${header}.${payload}`), {
    key: key.privateKey,
    dsaEncoding: 'ieee-p1363',
  });
  return { text: `${header}.${payload}.${signature.toString('base64url')}`, expiresInSeconds: Math.max(exp - iat, 0) };
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
