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
  /** Only where addresses are verified (OpenID Connect Core section 5.1). */
  readonly email_verified?: boolean;
}

export interface AccessToken {
  readonly text: string;
  /** Until it expires. */
  readonly expiresInSeconds: number;
}

/** When a token expires. */
export interface Expiry {
  readonly seconds: number;
  /** Up to this part of the lifetime earlier, at random, so that tokens issued together do not expire together. */
  readonly jitterPercent: number;
  /** By then in any case, in milliseconds since the epoch. */
  readonly notAfterMs: number;
}

/**
 * Signs a JWT of type `at+jwt` with ES256 (RFC 9068, RFC 7518 section 3.4).
 */
export function signAccessToken(
  key: { readonly kid: string; readonly privateKey: KeyObject },
  claims: AccessTokenClaims,
  { seconds, jitterPercent, notAfterMs }: Expiry,
  nowMs = Date.now(),
): AccessToken {
  const iat = Math.floor(nowMs / 1000);
  const jittered = seconds - randomInt(Math.floor((seconds * jitterPercent) / 100) + 1);
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
