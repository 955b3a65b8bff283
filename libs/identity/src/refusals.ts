import { Problem } from '@sluice/problem';

/**
 * RFC 6750 section 3.1: 401 with `invalid_token` for whatever is wrong with a token, also for one that is malformed, so that
 * clients do one thing about it: get another. 400 is for requests whose `Authorization` is no `Bearer` with a token.
 */
function invalid(code: 'TOKEN_INVALID' | 'TOKEN_EXPIRED' | 'SESSION_REVOKED' | 'KEY_ENDED', detail: string): Problem {
  const challenge = `Bearer realm="sluice", error="invalid_token", error_description="${detail}"`;
  return new Problem(code, detail, { headers: { 'www-authenticate': challenge }, lasting: true });
}

/** Why a token is refused. A closed list of constant answers: a refusal costs no new error and says nothing of the token's content. */
export const refusals = {
  tooLong: invalid('TOKEN_INVALID', 'The access token is too long.'),
  malformed: invalid('TOKEN_INVALID', 'The access token is not a signed JWT.'),
  algorithm: invalid('TOKEN_INVALID', 'The access token is signed with an algorithm that is not accepted.'),
  type: invalid('TOKEN_INVALID', 'The token is not an access token.'),
  critical: invalid('TOKEN_INVALID', 'The access token needs an extension that is not understood.'),
  keyId: invalid('TOKEN_INVALID', 'The access token names no acceptable key.'),
  claims: invalid('TOKEN_INVALID', 'The access token lacks a claim, or one has a wrong type.'),
  issuer: invalid('TOKEN_INVALID', 'The access token is from another issuer.'),
  audience: invalid('TOKEN_INVALID', 'The access token is for another audience.'),
  notYetValid: invalid('TOKEN_INVALID', 'The access token is not valid yet.'),
  unknownKey: invalid('TOKEN_INVALID', 'The access token is signed with an unknown key.'),
  signature: invalid('TOKEN_INVALID', 'The signature of the access token is wrong.'),
  expired: invalid('TOKEN_EXPIRED', 'The access token has expired.'),
  revoked: invalid('SESSION_REVOKED', 'The session of the access token has ended. Sign in again.'),
  keyMalformed: invalid('TOKEN_INVALID', 'This is no API key: its form or its checksum is wrong.'),
  keyUnknown: invalid('TOKEN_INVALID', 'The API key is not known.'),
  keyEnvironment: invalid('TOKEN_INVALID', 'API keys of this environment are not taken here.'),
  keyRevoked: invalid('KEY_ENDED', 'The API key was revoked.'),
  keyExpired: invalid('KEY_ENDED', 'The API key has expired.'),
  keyOwnerLocked: invalid('KEY_ENDED', 'The owner of the API key is locked.'),
  keyTenantClosed: invalid('KEY_ENDED', 'The tenant of the API key is closed.'),
  keysBusy: new Problem('OVERLOADED', 'Too many new API keys at once.', {
    details: { retry_after_ms: 200 },
    lasting: true,
  }),
  apiKeysUnavailable: new Problem('UNAVAILABLE', 'Whether the API key is good cannot be known at the moment.', {
    details: { retry_after_ms: 1000 },
    lasting: true,
  }),
  busy: new Problem('OVERLOADED', 'Too many new access tokens at once.', {
    details: { retry_after_ms: 200 },
    lasting: true,
  }),
  keysUnavailable: new Problem('UNAVAILABLE', 'The keys that verify access tokens cannot be had at the moment.', {
    details: { retry_after_ms: 1000 },
    lasting: true,
  }),
} as const satisfies Record<string, Problem>;
