import type { Fields } from '../fields.js';
import { Http1Fault, malformed } from './fault.js';

/** What a head says about its body and its connection (RFC 9112 sections 6 and 9.3). */
export interface Framing {
  /** Octets of the body; -1: it comes in chunks. */
  readonly bodyLength: number;
  /** The connection may carry another request after this one. */
  readonly persistent: boolean;
  /** The client waits for leave to send the body (RFC 9110 section 10.1.1). */
  readonly expectsContinue: boolean;
}

/**
 * Reads the fields that frame a message. Whoever reads them differently finds another request in what follows, so every
 * doubt is a fault (RFC 9112 section 6.3, items 3 to 5).
 *
 * @throws Http1Fault
 */
export function framing(fields: Fields, minorVersion: 0 | 1): Framing {
  let length: string | undefined;
  let coding: string | undefined;
  let options = '';
  let expect = '';
  let hosts = 0;
  for (const [name, value] of fields) {
    // Few names have the length of one of these, and only those are looked at.
    switch (name.length) {
      case 4:
        if (name.toLowerCase() === 'host') hosts++;
        break;
      case 6:
        if (name.toLowerCase() === 'expect') expect = value;
        break;
      case 10:
        if (name.toLowerCase() === 'connection') options += `,${value}`;
        break;
      case 14:
        if (name.toLowerCase() !== 'content-length') break;
        if (length !== undefined) throw malformed('The request has more than one Content-Length.');
        length = value;
        break;
      case 17:
        if (name.toLowerCase() !== 'transfer-encoding') break;
        if (coding !== undefined) throw malformed('The request has more than one Transfer-Encoding.');
        coding = value;
    }
  }
  if (hosts === 0 && minorVersion === 1) throw malformed('The request has no Host.');
  return {
    bodyLength: coding === undefined ? lengthOf(length) : chunkedOnly(coding, length, minorVersion),
    persistent: options === '' ? minorVersion === 1 : persists(options, minorVersion),
    expectsContinue: expect !== '' && waits(expect) && minorVersion === 1,
  };
}

function lengthOf(text: string | undefined): number {
  if (text === undefined) return 0;
  if (!/^\d+$/.test(text)) throw malformed('Content-Length is not a number.');
  const length = Number(text);
  if (!Number.isSafeInteger(length)) throw new Http1Fault(413, 'The body is larger than any that could be taken.');
  return length;
}

/** Of the codings only `chunked` is understood, and it must be the only one and last (section 6.1). */
function chunkedOnly(coding: string, length: string | undefined, minorVersion: 0 | 1): -1 {
  if (length !== undefined) throw malformed('The request has both Content-Length and Transfer-Encoding.');
  if (minorVersion === 0) throw malformed('HTTP/1.0 has no Transfer-Encoding.');
  if (coding.toLowerCase() !== 'chunked') throw new Http1Fault(501, 'Of transfer codings only chunked is understood.');
  return -1;
}

function persists(options: string, minorVersion: 0 | 1): boolean {
  const named = options.split(',').map((option) => option.trim().toLowerCase());
  if (named.includes('close')) return false;
  return minorVersion === 1 || named.includes('keep-alive');
}

function waits(expect: string): boolean {
  if (expect.toLowerCase() !== '100-continue') throw new Http1Fault(417, 'Only 100-continue can be expected.');
  return true;
}
