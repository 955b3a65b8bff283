import { createHash, randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';

/**
 * An API key is
 *
 *     api-key     = ( "slc_live_" / "slc_test_" ) 30base62 6base62
 *     base62      = DIGIT / ALPHA                ; in the order 0–9, A–Z, a–z
 *
 * Thirty random characters are 178 bits. The last six are the CRC32 (as zlib's) of everything before them, most significant digit first:
 * they tell a key from a typing error, and from text that a scanner of secrets finds by chance. They are no security.
 */
export const apiKeyEnvironments = ['live', 'test'] as const;
export type ApiKeyEnvironment = (typeof apiKeyEnvironments)[number];

const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
/** What every key begins with, and no JWT does: an underscore is not in base64url of `{"`. */
export const API_KEY_BEGINNING = 'slc_';
const RANDOM_CHARACTERS = 30;
const SUM_CHARACTERS = 6;
const SHAPE = /^slc_(live|test)_[0-9A-Za-z]{36}$/;
/** The largest multiple of 62 that a byte can be below: what is not below it is drawn again, so that no digit is likelier. */
const FAIR_BELOW = 248;

/** A new key. Whoever has the text is its owner to the gateway: it is shown once, and kept as {@link apiKeyDigest}. */
export function newApiKey(environment: ApiKeyEnvironment): string {
  const unsummed = `slc_${environment}_${randomText(RANDOM_CHARACTERS)}`;
  return unsummed + sumOf(unsummed);
}

/** So many random characters of base 62. */
export function randomText(characters: number): string {
  let text = '';
  while (text.length < characters) {
    for (const byte of randomBytes(characters)) {
      if (byte < FAIR_BELOW && text.length < characters) text += DIGITS[byte % DIGITS.length];
    }
  }
  return text;
}

/** The environment of a text that has the form of a key, its checksum included; undefined when it has not. */
export function environmentOfApiKey(text: string): ApiKeyEnvironment | undefined {
  const environment = SHAPE.exec(text)?.[1];
  if (environment === undefined) return undefined;
  return sumOf(text.slice(0, -SUM_CHARACTERS)) === text.slice(-SUM_CHARACTERS)
    ? (environment as ApiKeyEnvironment)
    : undefined;
}

/** What a key is known by where it is kept: SHA-256, which is enough for 178 random bits. */
export function apiKeyDigest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function sumOf(text: string): string {
  let rest = crc32(text);
  let sum = '';
  for (let digit = 0; digit < SUM_CHARACTERS; digit++) {
    sum = DIGITS[rest % DIGITS.length] + sum;
    rest = Math.floor(rest / DIGITS.length);
  }
  return sum;
}
