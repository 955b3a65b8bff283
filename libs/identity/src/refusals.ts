import { Problem } from '@sluice/problem';

/** RFC 6750 section 3.1. */
const headers = { 'www-authenticate': 'Bearer realm="sluice", error="invalid_token"' };

/** Why a token is refused. A closed list of constant answers: a refusal costs no new error and says nothing of the token's content. */
export const refusals = {
  tooLong: new Problem('TOKEN_INVALID', 'The access token is too long.', { headers }),
  malformed: new Problem('TOKEN_INVALID', 'The access token is not a signed JWT.', { headers }),
  algorithm: new Problem('TOKEN_INVALID', 'The access token is signed with an algorithm that is not accepted.', {
    headers,
  }),
  type: new Problem('TOKEN_INVALID', 'The token is not an access token.', { headers }),
  critical: new Problem('TOKEN_INVALID', 'The access token needs an extension that is not understood.', { headers }),
  keyId: new Problem('TOKEN_INVALID', 'The access token names no acceptable key.', { headers }),
  claims: new Problem('TOKEN_INVALID', 'The access token lacks a claim, or one has a wrong type.', { headers }),
  issuer: new Problem('TOKEN_INVALID', 'The access token is from another issuer.', { headers }),
  audience: new Problem('TOKEN_INVALID', 'The access token is for another audience.', { headers }),
  notYetValid: new Problem('TOKEN_INVALID', 'The access token is not valid yet.', { headers }),
  unknownKey: new Problem('TOKEN_INVALID', 'The access token is signed with an unknown key.', { headers }),
  signature: new Problem('TOKEN_INVALID', 'The signature of the access token is wrong.', { headers }),
  expired: new Problem('TOKEN_EXPIRED', 'The access token has expired.', { headers }),
  revoked: new Problem('SESSION_REVOKED', 'The session of the access token has ended. Sign in again.', { headers }),
  busy: new Problem('OVERLOADED', 'Too many new access tokens at once.', { details: { retry_after_ms: 200 } }),
  keysUnavailable: new Problem('UNAVAILABLE', 'The keys that verify access tokens cannot be had at the moment.', {
    details: { retry_after_ms: 1000 },
  }),
} as const satisfies Record<string, Problem>;
