const HOUR_S = 3600;

/**
 * A token that expired an hour ago: the given one with another `exp`, or one made up. Its signature does not fit, which
 * nobody finds out: expiry is checked before the signature, so that a storm of expired tokens costs little.
 */
export function expiredToken(live: string | undefined, subject: string): string {
  const [header, payload, signature] = live?.split('.') ?? [];
  const expired = Math.floor(Date.now() / 1000) - HOUR_S;
  if (header !== undefined && payload !== undefined && signature !== undefined) {
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>;
    return `${header}.${encode({ ...claims, iat: expired - HOUR_S, exp: expired })}.${signature}`;
  }
  const claims = {
    iss: 'http://localhost:8083',
    aud: 'sluice',
    sub: subject,
    sid: subject,
    iat: expired - HOUR_S,
    exp: expired,
  };
  return `${encode({ alg: 'ES256', typ: 'at+jwt', kid: 'token-expiry' })}.${encode(claims)}.${'A'.repeat(86)}`;
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
