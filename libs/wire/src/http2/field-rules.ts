/**
 * What makes a header list malformed, for requests and responses alike (RFC 9113 §8.2): names are lower-case tokens,
 * values hold no control characters and no white space at their ends, pseudo-fields come first (§8.3), and fields that
 * speak about an HTTP/1.1 connection do not exist (§8.2.2).
 */
import type { Field } from '../fields.js';

/** 1: may stand in a field name. RFC 9110 §5.6.2 `tchar` without upper-case letters. */
const NAME_OCTET = octets("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz");

/** 1: may stand in a field value. */
const VALUE_OCTET = new Uint8Array(256).fill(1, 0x20);
VALUE_OCTET[0x09] = 1;
VALUE_OCTET[0x7f] = 0;

function octets(legal: string): Uint8Array {
  const table = new Uint8Array(256);
  for (let at = 0; at < legal.length; at++) table[legal.charCodeAt(at)] = 1;
  return table;
}

const COLON = 0x3a;

const CONNECTION_FIELDS: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
]);

/** The name of a regular field (RFC 9113 §8.2.1). */
export function isFieldName(name: string): boolean {
  const length = name.length;
  if (length === 0) return false;
  for (let at = 0; at < length; at++) {
    const octet = name.charCodeAt(at);
    if (octet > 0xff || NAME_OCTET[octet] === 0) return false;
  }
  return true;
}

/** Names that were found fit to be sent; looking one up costs less than reading it again. */
const sendable = new Set<string>();
const SENDABLE_NAMES_MAX = 1_000;

/** A name that may stand in what is sent over HTTP/2: legal, and not of a field that speaks about the connection (§8.2.2). */
export function isSendableName(name: string): boolean {
  if (sendable.has(name)) return true;
  if (!isFieldName(name) || CONNECTION_FIELDS.has(name)) return false;
  if (sendable.size < SENDABLE_NAMES_MAX) sendable.add(name);
  return true;
}

/** A field value (RFC 9113 §8.2.1, RFC 9110 §5.5): visible octets, SP and HTAB inside, `obs-text`. */
export function isFieldValue(value: string): boolean {
  const length = value.length;
  if (length === 0) return true;
  if (isBlank(value.charCodeAt(0)) || isBlank(value.charCodeAt(length - 1))) return false;
  for (let at = 0; at < length; at++) {
    if (VALUE_OCTET[value.charCodeAt(at)] !== 1) return false;
  }
  return true;
}

function isBlank(octet: number): boolean {
  return octet === 0x20 || octet === 0x09;
}

/** What is wrong with the regular fields of a list, or undefined. */
export function fieldFault(fields: readonly Field[]): string | undefined {
  for (const [name, value] of fields) {
    if (!isFieldName(name)) {
      return name.charCodeAt(0) === COLON ? 'a pseudo-field after regular fields' : 'an illegal field name';
    }
    if (!isFieldValue(value)) return `an illegal value of ${name}`;
    if (CONNECTION_FIELDS.has(name)) return `the connection-specific field ${name}`;
    if (name === 'te' && value !== 'trailers') return 'a value of te other than trailers';
  }
  return undefined;
}

/** How many fields at the list's start are pseudo-fields. */
export function pseudoCount(fields: readonly Field[]): number {
  let count = 0;
  while (count < fields.length && fields[count]![0].charCodeAt(0) === COLON) count++;
  return count;
}

/**
 * The length that `content-length` gives (RFC 9113 §8.1.1), or undefined without one; NaN when it is not a length or
 * several differ.
 */
export function contentLength(fields: readonly Field[]): number | undefined {
  let length: number | undefined;
  for (const [name, value] of fields) {
    if (name !== 'content-length') continue;
    const given = /^\d{1,15}$/.test(value) ? Number(value) : NaN;
    length = length === undefined || length === given ? given : NaN;
  }
  return length;
}
