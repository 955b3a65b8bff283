import type { Problem } from '@sluice/problem';
import type { Claims } from './caller.js';
import { refusals } from './refusals.js';

/** The signature algorithms that can be allowed (RFC 7518 section 3.1, RFC 8037): asymmetric ones only. */
export const algorithms = ['ES256', 'ES384', 'EdDSA', 'RS256', 'RS512', 'PS256', 'PS512'] as const;
export type Algorithm = (typeof algorithms)[number];

/** What a token must be before its signature is worth checking. */
export interface Expectation {
  readonly issuer: string | undefined;
  readonly audience: string | undefined;
  readonly algorithms: readonly Algorithm[];
  /** `typ` in the header, compared without case and without `application/`; undefined: any. */
  readonly typ: string | undefined;
  /** How far `nbf` and `iat` may be in the future, in milliseconds. */
  readonly clockToleranceMs: number;
}

/** A token whose structure is right; nothing of it is believed yet. */
export interface UnverifiedToken {
  readonly alg: Algorithm;
  /** Undefined: the key set must hold exactly one key that fits. */
  readonly kid: string | undefined;
  readonly claims: Claims;
}

export const TOKEN_CHARACTERS_MAX = 8192;
const SHAPE = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)$/;
const KID = /^[\x21-\x7e]{1,256}$/;

/** The segments of a token, not decoded yet. */
export interface TokenParts {
  readonly header: string;
  readonly payload: string;
}

/** A JWS in compact form (RFC 7515 section 7.1), or of {@link refusals} what it is not. */
export function splitToken(text: string): TokenParts | Problem {
  if (text.length > TOKEN_CHARACTERS_MAX) return refusals.tooLong;
  const parts = SHAPE.exec(text) as unknown as [string, string, string, string] | null;
  if (!parts || !isCanonical(parts[1]) || !isCanonical(parts[2]) || !isCanonical(parts[3])) return refusals.malformed;
  return { header: parts[1], payload: parts[2] };
}

/**
 * Reads a token and checks all that can be checked without a key. The time comes first: an expired token is refused before
 * anything else of it is looked at.
 *
 * Header members that name or carry keys (`jku`, `x5u`, `jwk`, `x5c`) are never looked at.
 *
 * @throws Problem of {@link refusals}
 */
export function readToken(parts: TokenParts, expected: Expectation, nowMs: number): UnverifiedToken {
  const claims = parseObject(parts.payload);
  checkTimes(claims, expected.clockToleranceMs, nowMs);
  const header = parseObject(parts.header);
  const alg = expected.algorithms.find((allowed) => allowed === header['alg']);
  if (!alg) throw refusals.algorithm;
  if (Object.hasOwn(header, 'crit') || Object.hasOwn(header, 'b64')) throw refusals.critical;
  if (expected.typ !== undefined && mediaType(header['typ']) !== mediaType(expected.typ)) throw refusals.type;
  const kid = header['kid'];
  if (kid !== undefined && (typeof kid !== 'string' || !KID.test(kid))) throw refusals.keyId;
  if (expected.issuer !== undefined && claims['iss'] !== expected.issuer) throw refusals.issuer;
  if (expected.audience !== undefined && !isFor(claims['aud'], expected.audience)) throw refusals.audience;
  return { alg, kid, claims };
}

function checkTimes(claims: Claims, toleranceMs: number, nowMs: number): void {
  const { exp, nbf, iat } = claims;
  if (!isTime(exp)) throw refusals.claims;
  if (exp * 1000 <= nowMs) throw refusals.expired;
  for (const notBefore of [nbf, iat]) {
    if (notBefore === undefined) continue;
    if (!isTime(notBefore)) throw refusals.claims;
    if (notBefore * 1000 - toleranceMs > nowMs) throw refusals.notYetValid;
  }
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}

function isFor(audience: unknown, expected: string): boolean {
  return audience === expected || (Array.isArray(audience) && audience.includes(expected));
}

/** RFC 7515 section 4.1.9: `application/` may be left out. */
function mediaType(typ: unknown): string | undefined {
  return typeof typ === 'string' ? typ.toLowerCase().replace(/^application\//, '') : undefined;
}

/** Characters whose low 4, or low 2, bits are zero. */
const LAST_OF_TWO = 'AQgw';
const LAST_OF_THREE = 'AEIMQUYcgkosw048';

/** Whether no other text decodes to the same bytes: a token has one form, so its text can stand for it. */
function isCanonical(base64url: string): boolean {
  const last = base64url[base64url.length - 1] as string;
  switch (base64url.length % 4) {
    case 0:
      return true;
    case 1:
      return false;
    case 2:
      return LAST_OF_TWO.includes(last);
    default:
      return LAST_OF_THREE.includes(last);
  }
}

function parseObject(base64url: string): Claims {
  try {
    const value: unknown = JSON.parse(Buffer.from(base64url, 'base64url').toString());
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Claims;
  } catch {
    // Refused below like every other text that is no object.
  }
  throw refusals.malformed;
}
