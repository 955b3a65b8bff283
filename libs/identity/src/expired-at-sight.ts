/** What a payload may look like to be understood without a parser of JSON. */
const QUOTE = 0x22;
const COMMA = 0x2c;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const OPENING_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSING_BRACKET = 0x5d;
const OPENING_BRACE = 0x7b;
const CLOSING_BRACE = 0x7d;
const [E, X, P] = [0x65, 0x78, 0x70];
/** So many digits every double holds exactly. */
const DIGITS_MAX = 15;

/** The characters of a token fit; reading is synchronous, so one buffer serves all. */
const scratch = Buffer.allocUnsafeSlow(8192);

/**
 * Whether a payload is a plain one that has expired: an object of ASCII text without blanks or escapes, whose values are
 * strings, whole numbers, `true`, `false`, `null`, and lists of them. Then `JSON.parse` reads it and gives the same `exp`, the last one when there are
 * several. Anything else is not judged here but read in full, so a token can be refused by this and never let in.
 *
 * @param base64url made of the letters of base64url alone, at most 8192
 */
export function isExpiredAtSight(base64url: string, nowMs: number): boolean {
  const length = scratch.write(base64url, 'base64url');
  const exp = plainExpiry(scratch, length);
  return exp !== undefined && exp * 1000 <= nowMs;
}

function plainExpiry(octets: Uint8Array, length: number): number | undefined {
  if (length < 2 || octets[0] !== OPENING_BRACE) return undefined;
  let exp: number | undefined;
  for (let at = 1; ; at++) {
    const name = at;
    at = afterString(octets, at, length);
    if (at === ODD || octets[at] !== COLON) return undefined;
    const value = at + 1;
    at = octets[value] === OPENING_BRACKET ? afterList(octets, value, length) : afterValue(octets, value, length);
    if (at === ODD) return undefined;
    if (isExp(octets, name)) {
      exp = wholeNumber(octets, value, at);
      if (exp === undefined) return undefined;
    }
    if (octets[at] === COMMA) continue;
    return octets[at] === CLOSING_BRACE && at === length - 1 ? exp : undefined;
  }
}

/** Not what can be read here. */
const ODD = -1;

function isExp(octets: Uint8Array, at: number): boolean {
  return octets[at + 1] === E && octets[at + 2] === X && octets[at + 3] === P && octets[at + 4] === QUOTE;
}

function afterValue(octets: Uint8Array, at: number, length: number): number {
  const first = octets[at]!;
  if (first === QUOTE) return afterString(octets, at, length);
  return first > NINE ? afterWord(octets, at, length) : afterDigits(octets, at, length);
}

const words = ['true', 'false', 'null'].map((word) => Buffer.from(word));

function afterWord(octets: Uint8Array, at: number, length: number): number {
  for (const word of words) {
    if (at + word.length <= length && word.every((octet, index) => octets[at + index] === octet))
      return at + word.length;
  }
  return ODD;
}

function afterString(octets: Uint8Array, at: number, length: number): number {
  if (at >= length || octets[at] !== QUOTE) return ODD;
  for (let next = at + 1; next < length; next++) {
    const octet = octets[next]!;
    if (octet === QUOTE) return next + 1;
    if (octet < 0x20 || octet > 0x7e || octet === BACKSLASH) return ODD;
  }
  return ODD;
}

/** A whole number; JSON has none with leading zeros. */
function afterDigits(octets: Uint8Array, at: number, length: number): number {
  let next = at;
  while (next < length && octets[next]! >= ZERO && octets[next]! <= NINE) next++;
  const digits = next - at;
  return digits === 0 || digits > DIGITS_MAX || (octets[at] === ZERO && digits > 1) ? ODD : next;
}

function afterList(octets: Uint8Array, at: number, length: number): number {
  if (octets[at + 1] === CLOSING_BRACKET) return at + 2;
  for (let next = at + 1; ; next++) {
    next = afterValue(octets, next, length);
    if (next === ODD) return ODD;
    if (octets[next] === CLOSING_BRACKET) return next + 1;
    if (octets[next] !== COMMA) return ODD;
  }
}

function wholeNumber(octets: Uint8Array, from: number, to: number): number | undefined {
  let number = 0;
  for (let at = from; at < to; at++) {
    const digit = octets[at]! - ZERO;
    if (digit < 0 || digit > 9) return undefined;
    number = number * 10 + digit;
  }
  return number;
}
