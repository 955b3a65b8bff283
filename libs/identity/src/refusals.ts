import { Problem } from '@sluice/problem';

/** RFC 6750 section 3.1. */
const headers = { 'www-authenticate': 'Bearer realm="sluice", error="invalid_token"' };
const options = { headers, lasting: true };

/** Why a token is refused. A closed list of constant answers: a refusal costs no new error and says nothing of the token's content. */
export const refusals = {
  tooLong: new Problem('TOKEN_INVALID', 'The access token is too long.', options),
  malformed: new Problem('TOKEN_INVALID', 'The access token is not a signed JWT.', options),
  algorithm: new Problem(
    'TOKEN_INVALID',
    'The access token is signed with an algorithm that is not accepted.',
    options,
  ),
  type: new Problem('TOKEN_INVALID', 'The token is not an access token.', options),
  critical: new Problem('TOKEN_INVALID', 'The access token needs an extension that is not understood.', options),
  keyId: new Problem('TOKEN_INVALID', 'The access token names no acceptable key.', options),
  claims: new Problem('TOKEN_INVALID', 'The access token lacks a claim, or one has a wrong type.', options),
  issuer: new Problem('TOKEN_INVALID', 'The access token is from another issuer.', options),
  audience: new Problem('TOKEN_INVALID', 'The access token is for another audience.', options),
  notYetValid: new Problem('TOKEN_INVALID', 'The access token is not valid yet.', options),
  unknownKey: new Problem('TOKEN_INVALID', 'The access token is signed with an unknown key.', options),
  signature: new Problem('TOKEN_INVALID', 'The signature of the access token is wrong.', options),
  expired: new Problem('TOKEN_EXPIRED', 'The access token has expired.', options),
  revoked: new Problem('SESSION_REVOKED', 'The session of the access token has ended. Sign in again.', options),
  busy: new Problem('OVERLOADED', 'Too many new access tokens at once.', {
    details: { retry_after_ms: 200 },
    lasting: true,
  }),
  keysUnavailable: new Problem('UNAVAILABLE', 'The keys that verify access tokens cannot be had at the moment.', {
    details: { retry_after_ms: 1000 },
    lasting: true,
  }),
} as const satisfies Record<string, Problem>;
