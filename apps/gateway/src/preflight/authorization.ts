import { API_KEY_BEGINNING } from '@sluice/identity';
import { Problem } from '@sluice/problem';

/** What the `Authorization` fields of a request say. A fault matters only where a token is needed. */
export type Authorization =
  | { readonly kind: 'absent' }
  | { readonly kind: 'bearer'; readonly token: string }
  /** An API key, or what says that it is one. */
  | { readonly kind: 'key'; readonly token: string }
  | { readonly kind: 'faulty'; readonly problem: Problem };

export const absent: Authorization = { kind: 'absent' };

/** `b64token` of RFC 6750 section 2.1. */
const TOKEN = /^[A-Za-z0-9\-._~+/]+=*$/;

const malformed = (detail: string): Authorization => ({
  kind: 'faulty',
  problem: new Problem('AUTHORIZATION_MALFORMED', detail, { lasting: true }),
});

const empty = malformed('The Authorization header is empty. Send: Authorization: Bearer <access token>');
const schemeOnly = malformed('The Authorization header has no token. Send: Authorization: Bearer <access token>');
const otherScheme = malformed('Only the scheme Bearer is accepted. Send: Authorization: Bearer <access token>');
const badToken = malformed('The token has characters that a bearer token cannot have (RFC 6750 section 2.1).');

export const duplicate: Authorization & { kind: 'faulty' } = {
  kind: 'faulty',
  problem: new Problem('AUTHORIZATION_DUPLICATE', 'The request has more than one Authorization header. Send one.', {
    lasting: true,
  }),
};

/** Parses the value of the only `Authorization` field: `Bearer`, in any case, one or more spaces, the token (RFC 9110 section 11.4). */
export function parseAuthorization(value: string): Authorization {
  const text = value.trim();
  if (text === '') return empty;
  const space = text.indexOf(' ');
  const scheme = space === -1 ? text : text.slice(0, space);
  if (scheme.length !== 6 || scheme.toLowerCase() !== 'bearer') return otherScheme;
  if (space === -1) return schemeOnly;
  const token = text.slice(space + 1).trimStart();
  return TOKEN.test(token) ? { kind: 'bearer', token } : badToken;
}

const emptyKey = malformed('The x-api-key header is empty. Send: x-api-key: slc_…');

/** Of an `x-api-key` more than one, or one beside `Authorization`, nobody knows which is meant, also when they are equal. */
export const duplicateKey: Authorization & { kind: 'faulty' } = {
  kind: 'faulty',
  problem: new Problem(
    'AUTHORIZATION_DUPLICATE',
    'The request shows more than one credential: send either Authorization or one x-api-key.',
    { lasting: true },
  ),
};

/** The value of an `x-api-key` field. Whether it is a key is judged where a key is needed. */
export function parseApiKey(value: string): Authorization {
  const token = value.trim();
  return token === '' ? emptyKey : { kind: 'key', token };
}

/** What `Authorization` and `x-api-key` say together, where keys are taken: a bearer token that begins as a key is one. */
export function withKeys(authorization: Authorization, apiKey: Authorization | undefined): Authorization {
  if (apiKey !== undefined) return authorization === absent ? apiKey : duplicateKey;
  const isKey = authorization.kind === 'bearer' && authorization.token.startsWith(API_KEY_BEGINNING);
  return isKey ? { kind: 'key', token: authorization.token } : authorization;
}
