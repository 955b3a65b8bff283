import { faultAt, type FileFault } from '@sluice/config';
import type { Subject } from './check.js';

/** Fields that a page cannot set: https://fetch.spec.whatwg.org/#forbidden-request-header. */
const forbidden =
  /^(accept-charset|accept-encoding|access-control-request-.*|connection|content-length|cookie2?|date|dnt|expect|host|keep-alive|origin|referer|set-cookie|te|trailer|transfer-encoding|upgrade|via|proxy-.*|sec-.*)$/;
/** Fields that a page never sees: https://fetch.spec.whatwg.org/#forbidden-response-header-name. */
const hidden = /^set-cookie2?$/;
/** https://fetch.spec.whatwg.org/#forbidden-method */
const forbiddenMethods = new Set(['CONNECT', 'TRACE', 'TRACK']);

/** What no browser would ever send, ask for or show. */
export function* cors({ config }: Subject): Iterable<FileFault> {
  const rules = config.cors;
  if (!rules) return;
  for (const [index, origin] of rules.origins.entries()) {
    const fault = originFault(origin, rules.credentials) ?? listFault(rules.origins, index);
    if (fault) yield faultAt(['cors', 'origins', index], { value: origin, ...fault });
  }
  const lists = [
    ['methods', (method: string) => methodFault(method)],
    ['request_headers', (field: string) => (forbidden.test(field) ? 'a field that a page can set' : undefined)],
    ['response_headers', (field: string) => (hidden.test(field) ? 'a field that a page may see' : undefined)],
  ] as const;
  for (const [key, faultOf] of lists) {
    for (const [index, value] of rules[key].entries()) {
      const wild = value === '*' && rules.credentials ? 'names: with credentials `*` is no wildcard' : undefined;
      const expected = wild ?? faultOf(value);
      if (expected) yield faultAt(['cors', key, index], { value, expected });
    }
  }
}

function listFault(origins: readonly string[], index: number): { expected: string } | undefined {
  const origin = origins[index]!;
  if (origins.indexOf(origin) !== index) return { expected: 'each origin once' };
  const all = origin !== '*' && origins.includes('*');
  return all ? { expected: 'either `*` or origins: beside `*` this one has no effect' } : undefined;
}

/** An origin matches only as browsers write it (RFC 6454 section 6.2): scheme and host in lower case, no usual port, no path. */
function originFault(origin: string, credentials: boolean): { expected: string; meant?: string } | undefined {
  if (origin === '*') return undefined;
  if (origin === 'null') {
    return credentials
      ? { expected: 'an origin that is somebody’s: with credentials any page could be `null`' }
      : undefined;
  }
  const expected = 'an exact origin such as https://app.example.com or http://localhost:3000';
  if (origin.includes('*')) return { expected: `${expected}; \`*\` stands alone or not at all` };
  const asUrl = [origin, `https://${origin}`].find(
    (text) => /^[a-z][a-z0-9+.-]*:\/\/./i.test(text) && URL.canParse(text),
  );
  if (asUrl === undefined) return { expected };
  const { protocol, host } = new URL(asUrl);
  const written = `${protocol}//${host}`;
  return written === origin ? undefined : { expected, meant: written };
}

function methodFault(method: string): string | undefined {
  if (method === '*') return undefined;
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(method)) return 'an HTTP method';
  if (method !== method.toUpperCase()) return `capital letters: methods are told apart by case`;
  return forbiddenMethods.has(method) ? 'a method that a page can use' : undefined;
}
