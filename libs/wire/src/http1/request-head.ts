/**
 * The head of a request (RFC 9112 sections 2.2, 3 and 5):
 *
 *     HTTP-message = request-line CRLF *( field-line CRLF ) CRLF
 *     request-line = method SP request-target SP HTTP-version
 *     field-line   = field-name ":" OWS field-value OWS
 *
 * Where RFC 9112 lets a recipient be lenient (LF alone, obs-fold, more than one space), this parser refuses: what two
 * parsers in a row read differently is how requests are smuggled (section 11.2).
 */
import type { Field } from '../fields.js';
import { Http1Fault, malformed } from './fault.js';
import { COLON, CR, HTAB, LF, SP, TARGET, TOKEN, VALUE } from './octets.js';

export interface RequestLine {
  readonly method: string;
  /** Path and query, or `*`. */
  readonly target: string;
  /** Host and port of a target in absolute form, which count instead of `Host` (section 3.2.2). */
  readonly authority: string | undefined;
  readonly minorVersion: 0 | 1;
}

/**
 * Parses a request line, given as latin1 text without its line end.
 *
 * @throws Http1Fault
 */
export function parseRequestLine(text: string): RequestLine {
  const methodEnd = scan(text, 0, TOKEN);
  if (methodEnd === 0 || text.charCodeAt(methodEnd) !== SP) throw malformed('The request line has no method.');
  const targetEnd = scan(text, methodEnd + 1, TARGET);
  if (targetEnd === methodEnd + 1 || text.charCodeAt(targetEnd) !== SP) {
    throw malformed('The request target is missing, or has a character that cannot be in one.');
  }
  const minorVersion = minorVersionOf(text.slice(targetEnd + 1));
  const method = text.slice(0, methodEnd);
  if (method === 'CONNECT') throw new Http1Fault(405, 'This server is no proxy.');
  const written = text.slice(methodEnd + 1, targetEnd);
  if (written.charCodeAt(0) === SLASH || (written === '*' && method === 'OPTIONS')) {
    return { method, target: written, authority: undefined, minorVersion };
  }
  return { method, ...absoluteForm(written), minorVersion };
}

/**
 * Parses field lines, given as latin1 text, each with its line end.
 *
 * @throws Http1Fault
 */
export function parseFields(text: string): Field[] {
  const fields: Field[] = [];
  for (let at = 0; at < text.length;) {
    const nameEnd = scan(text, at, TOKEN);
    if (nameEnd === at || text.charCodeAt(nameEnd) !== COLON) throw malformed('A header line has no valid name.');
    let start = nameEnd + 1;
    while (isBlank(text.charCodeAt(start))) start++;
    const lineEnd = scan(text, start, VALUE);
    requireLineEnd(text, lineEnd);
    let end = lineEnd;
    while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
    fields.push([text.slice(at, nameEnd), text.slice(start, end)]);
    at = lineEnd + 2;
  }
  return fields;
}

/** @returns where the octets of the set end */
function scan(text: string, from: number, set: Uint8Array): number {
  let at = from;
  while (set[text.charCodeAt(at)] === 1) at++;
  return at;
}

function requireLineEnd(text: string, at: number): void {
  if (text.charCodeAt(at) === CR && text.charCodeAt(at + 1) === LF) return;
  throw malformed('A line has a character that cannot be in it, or does not end with CR LF.');
}

function isBlank(octet: number): boolean {
  return octet === SP || octet === HTAB;
}

function minorVersionOf(version: string): 0 | 1 {
  if (version === 'HTTP/1.1') return 1;
  if (version === 'HTTP/1.0') return 0;
  const other = /^HTTP\/\d\.\d$/.test(version);
  throw other ? new Http1Fault(505, 'Only HTTP/1.1 and HTTP/1.0 are spoken.') : malformed('There is no HTTP version.');
}

/** @throws Http1Fault for what is neither origin nor absolute form */
function absoluteForm(written: string): { target: string; authority: string } {
  const match = /^https?:\/\/([^/?]*)(.*)$/i.exec(written);
  if (!match) throw malformed('The request target is neither a path nor an http URL.');
  const rest = match[2]!;
  return { target: rest.startsWith('/') ? rest : `/${rest}`, authority: match[1]! };
}

const SLASH = 0x2f;
