/** Which header sections are requests (RFC 9113 §8.1.1, §8.3.1, §8.5). */
import type { HeaderBlock } from '../http2/header-block.js';
import type { Fields } from '../fields.js';

export interface RequestLine {
  readonly method: string;
  readonly scheme: string;
  readonly path: string;
  /** `:authority`, or empty when there is none. */
  readonly authority: string;
}

/** The pseudo-fields of a request, or what makes the request malformed. */
export function requestLine(block: HeaderBlock): RequestLine | string {
  if (block.fault !== undefined) return block.fault;
  let method: string | undefined;
  let scheme: string | undefined;
  let path: string | undefined;
  let authority: string | undefined;
  for (const [name, value] of block.pseudo) {
    switch (name) {
      case ':method':
        if (method !== undefined) return 'two :method';
        method = value;
        break;
      case ':scheme':
        if (scheme !== undefined) return 'two :scheme';
        scheme = value;
        break;
      case ':path':
        if (path !== undefined) return 'two :path';
        path = value;
        break;
      case ':authority':
        if (authority !== undefined) return 'two :authority';
        authority = value;
        break;
      default:
        return 'a pseudo-field that requests do not have';
    }
  }
  if (method === undefined || !TOKEN.test(method)) return 'no legal :method';
  if (method === 'CONNECT') {
    if (scheme !== undefined || path !== undefined) return 'CONNECT with :scheme or :path';
    if (authority === undefined || authority === '') return 'CONNECT without :authority';
    return { method, scheme: '', path: '', authority };
  }
  if (scheme === undefined || !/^[a-z][a-z0-9+.-]*$/i.test(scheme)) return 'no legal :scheme';
  if (path === undefined || !isPath(path, method)) return 'no legal :path';
  if (authority !== undefined && /[@\s]/.test(authority)) return 'user information or white space in :authority';
  return { method, scheme, path, authority: authority ?? '' };
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** §8.3.1: begins with "/", or is "*" for OPTIONS; visible octets of US-ASCII (RFC 3986 §2) without a fragment. */
function isPath(path: string, method: string): boolean {
  if (path.charCodeAt(0) !== 0x2f) return path === '*' && method === 'OPTIONS';
  for (let at = 1; at < path.length; at++) {
    const octet = path.charCodeAt(at);
    if (octet <= 0x20 || octet >= 0x7f || octet === 0x23) return false;
  }
  return true;
}

/** §8.2.3: several `cookie` fields are one, joined by "; ", outside of HTTP/2. Other fields stay as they are. */
export function joinCookies(fields: Fields): Fields {
  let cookies = 0;
  for (const [name] of fields) if (name === 'cookie') cookies++;
  if (cookies < 2) return fields;
  const joined = fields.filter(([name]) => name === 'cookie').map(([, value]) => value);
  return [...fields.filter(([name]) => name !== 'cookie'), ['cookie', joined.join('; ')]];
}
