/** Sets of octets, as tables: what the grammar of RFC 9110 and RFC 9112 names. */

export const CR = 0x0d;
export const LF = 0x0a;
export const SP = 0x20;
export const HTAB = 0x09;
export const COLON = 0x3a;

/** RFC 9110 section 5.6.2, `tchar`. */
export const TOKEN = octets("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
/** What a field value is made of (RFC 9110 section 5.5): HTAB, SP, `VCHAR` and `obs-text`. */
export const VALUE = range(0x20, 0xff);
VALUE[HTAB] = 1;
VALUE[0x7f] = 0;
/** What a request target may be made of: visible octets; a fragment is not sent (RFC 9112 section 3.2). */
export const TARGET = range(0x21, 0x7e);
TARGET[0x23] = 0;

function octets(legal: string): Uint8Array {
  const table = new Uint8Array(256);
  for (let at = 0; at < legal.length; at++) table[legal.charCodeAt(at)] = 1;
  return table;
}

function range(from: number, to: number): Uint8Array {
  return new Uint8Array(256).fill(1, from, to + 1);
}
