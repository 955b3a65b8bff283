import { compactVerify, decodeProtectedHeader, importJWK, type JWK } from 'jose';
import type { ClientRow } from './service-account-store.js';

/** The algorithms that an assertion may be signed with, and which keys they take. None of them has a secret that both sides know. */
export const assertionAlgorithms = {
  ES256: { kty: 'EC', crv: 'P-256' },
  ES384: { kty: 'EC', crv: 'P-384' },
  EdDSA: { kty: 'OKP', crv: 'Ed25519' },
  RS256: { kty: 'RSA', crv: undefined },
  PS256: { kty: 'RSA', crv: undefined },
} as const;
export type AssertionAlgorithm = keyof typeof assertionAlgorithms;

/** RFC 7523 section 2.2. */
export const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

const CHARACTERS_MAX = 8192;
const JTI_CHARACTERS_MAX = 255;
/** How far two clocks may be apart, in milliseconds. */
const CLOCK_TOLERANCE_MS = 30_000;
/** How far ahead an assertion may expire: what was shown is remembered for that long. */
const LIFETIME_MS_MAX = 600_000;

/** What an assertion says, once its signature has been checked. */
export interface CheckedAssertion {
  readonly jti: string;
  /** From then on it is refused by its time, in milliseconds since the epoch. */
  readonly refusedFromMs: number;
}

/** The client that an assertion says it is from; nothing of it has been checked. */
export function clientOfAssertion(text: string): string | undefined {
  const issuer = claimsOf(text)?.['iss'];
  return typeof issuer === 'string' ? issuer : undefined;
}

/**
 * Checks an assertion of RFC 7523 section 3 but for whether it was shown before.
 *
 * @param audiences of which it must be for one: the issuer, or the token endpoint
 * @returns why it is refused, for the client, when it is
 */
export async function checkAssertion(
  text: string,
  client: Pick<ClientRow, 'id' | 'keys'>,
  audiences: readonly string[],
  nowMs: number,
): Promise<CheckedAssertion | string> {
  const claims = claimsOf(text);
  const header = headerOf(text);
  if (!claims || !header) return 'client_assertion is not a signed JWT.';
  if (typeof header.alg !== 'string' || !Object.hasOwn(assertionAlgorithms, header.alg)) {
    return `client_assertion must be signed with one of ${Object.keys(assertionAlgorithms).join(', ')}.`;
  }
  if (header.crit !== undefined) return 'client_assertion needs an extension that is not understood.';
  const fitting = client.keys.filter(({ kid, alg }) => alg === header.alg && (header.kid ?? kid) === kid);
  const key = fitting[0];
  if (!key || fitting.length > 1)
    return 'client_assertion is signed with a key that the client has not registered: check kid and alg.';
  try {
    await compactVerify(text, await importJWK(key.jwk as JWK, key.alg), { algorithms: [key.alg] });
  } catch {
    return 'The signature of client_assertion is wrong.';
  }
  if (claims['iss'] !== client.id || claims['sub'] !== client.id) {
    return 'iss and sub of client_assertion must be the client_id.';
  }
  const aud: unknown[] = Array.isArray(claims['aud']) ? claims['aud'] : [claims['aud']];
  if (!aud.some((one) => audiences.includes(one as string))) {
    return `aud of client_assertion must be ${audiences.join(' or ')}.`;
  }
  return checkTimes(claims, nowMs);
}

function checkTimes(claims: Record<string, unknown>, nowMs: number): CheckedAssertion | string {
  const { exp, nbf, iat, jti } = claims;
  if (typeof exp !== 'number' || !Number.isFinite(exp)) return 'client_assertion lacks exp.';
  if (exp * 1000 <= nowMs - CLOCK_TOLERANCE_MS) return 'client_assertion has expired.';
  if (exp * 1000 > nowMs + LIFETIME_MS_MAX + CLOCK_TOLERANCE_MS) {
    return `exp of client_assertion must be at most ${LIFETIME_MS_MAX / 60_000} minutes ahead.`;
  }
  for (const [name, value] of Object.entries({ nbf, iat })) {
    if (value === undefined) continue;
    if (typeof value !== 'number' || value * 1000 > nowMs + CLOCK_TOLERANCE_MS) {
      return `${name} of client_assertion must be a time that is not ahead.`;
    }
  }
  if (typeof jti !== 'string' || jti === '' || jti.length > JTI_CHARACTERS_MAX) {
    return `client_assertion lacks jti, of 1 to ${JTI_CHARACTERS_MAX} characters.`;
  }
  return { jti, refusedFromMs: exp * 1000 + CLOCK_TOLERANCE_MS };
}

function headerOf(text: string): { alg?: unknown; kid?: unknown; crit?: unknown } | undefined {
  try {
    return decodeProtectedHeader(text);
  } catch {
    return undefined;
  }
}

function claimsOf(text: string): Record<string, unknown> | undefined {
  const payload = text.length > CHARACTERS_MAX ? undefined : /^[\w-]+\.([\w-]+)\.[\w-]+$/.exec(text)?.[1];
  if (payload === undefined) return undefined;
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString());
    return typeof claims === 'object' && claims !== null && !Array.isArray(claims)
      ? (claims as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
