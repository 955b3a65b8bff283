import { Problem } from '@sluice/problem';

/** Why a token is refused. A closed list of constant answers: a refusal costs no stack trace and says nothing of the token's content. */
export const refusals = {
  tooLong: new Problem('TOKEN_INVALID', 'The access token is too long.'),
  malformed: new Problem('TOKEN_INVALID', 'The access token is not a signed JWT.'),
  algorithm: new Problem('TOKEN_INVALID', 'The access token is signed with an algorithm that is not accepted.'),
  type: new Problem('TOKEN_INVALID', 'The token is not an access token.'),
  critical: new Problem('TOKEN_INVALID', 'The access token needs an extension that is not understood.'),
  keyId: new Problem('TOKEN_INVALID', 'The access token names no acceptable key.'),
  claims: new Problem('TOKEN_INVALID', 'The access token lacks a claim, or one has a wrong type.'),
  issuer: new Problem('TOKEN_INVALID', 'The access token is from another issuer.'),
  audience: new Problem('TOKEN_INVALID', 'The access token is for another audience.'),
  notYetValid: new Problem('TOKEN_INVALID', 'The access token is not valid yet.'),
  unknownKey: new Problem('TOKEN_INVALID', 'The access token is signed with an unknown key.'),
  signature: new Problem('TOKEN_INVALID', 'The signature of the access token is wrong.'),
  expired: new Problem('TOKEN_EXPIRED', 'The access token has expired.'),
  revoked: new Problem('SESSION_REVOKED', 'The session of the access token has ended.'),
  busy: new Problem('OVERLOADED', 'Too many new access tokens at once.', { details: { retry_after_ms: 200 } }),
  keysUnavailable: new Problem('UNAVAILABLE', 'The keys that verify access tokens cannot be had at the moment.', {
    details: { retry_after_ms: 1000 },
  }),
} as const satisfies Record<string, Problem>;
