import { isIP } from 'node:net';
import { domainToASCII } from 'node:url';
import type { Handshake } from '@sluice/wire';

/**
 * Hosts as configurations name them: `api.example.com`, or `*.example.com` for all that end in `.example.com`, however many
 * labels stand before it; addresses as they are written in URLs. Ports, case and the dot of the root do not count.
 */

/** The host of `host[:port]` as names are compared: in lower case, without the port and the dot of the root. */
export function hostnameOf(host: string): string {
  const end = host.endsWith(']') ? -1 : host.lastIndexOf(':');
  const name = (end === -1 ? host : host.slice(0, end)).toLowerCase();
  return name.endsWith('.') ? name.slice(0, -1) : name;
}

const NAME = /^(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;
const NAME_CHARACTERS_MAX = 253;

/** What is expected in place of what cannot be a host of a configuration, and what was probably meant; undefined when it can. */
export function hostFault(
  value: string,
): { readonly expected: string; readonly meant?: string | undefined } | undefined {
  const expected = 'a host such as api.example.com, or *.example.com for all below it';
  if (value === '*') return { expected: 'no such entry for all hosts: without any every host is meant' };
  if (/^\[.*\]$/.test(value) && isIP(value.slice(1, -1)) === 6) return undefined;
  if (isIP(value) === 6) return { expected, meant: `[${value}]` };
  if (value.length <= NAME_CHARACTERS_MAX && NAME.test(value)) return undefined;
  const bare = hostnameOf(value.replace(/^[a-z]+:\/\//i, '').replace(/\/.*$/, ''));
  const plain = bare.startsWith('*.') ? `*.${domainToASCII(bare.slice(2))}` : domainToASCII(bare);
  return { expected, meant: plain !== value && NAME.test(plain) ? plain : undefined };
}

/** Whether every host of `pattern` is one of `other`. */
export function coveredBy(pattern: string, other: string): boolean {
  return pattern === other || (other.startsWith('*.') && pattern.endsWith(other.slice(1)) && pattern !== other);
}

/** Whether some host is of both patterns. */
export function meets(one: string, other: string): boolean {
  return coveredBy(one, other) || coveredBy(other, one);
}

/** Something for each of some patterns; the most specific pattern counts. A look-up costs as much as its host has labels, at most. */
export class ByHost<T> {
  private readonly exact = new Map<string, T>();
  /** By what follows the asterisk. */
  private readonly below = new Map<string, T>();

  constructor(entries: Iterable<readonly [pattern: string, value: T]>) {
    for (const [pattern, value] of entries) {
      if (pattern.startsWith('*.')) this.below.set(pattern.slice(1), value);
      else this.exact.set(pattern, value);
    }
  }

  /** @param hostname as {@link hostnameOf} gives it */
  get(hostname: string): T | undefined {
    const own = this.exact.get(hostname);
    if (own !== undefined || this.below.size === 0) return own;
    for (let dot = hostname.indexOf('.'); dot !== -1; dot = hostname.indexOf('.', dot + 1)) {
      const value = dot > 0 ? this.below.get(hostname.slice(dot)) : undefined;
      if (value !== undefined) return value;
    }
    return undefined;
  }
}

/** Some patterns, as what is asked of every call that they are for. */
export function hostSet(patterns: readonly string[]): (hostname: string) => boolean {
  const all = new ByHost(patterns.map((pattern) => [pattern, true] as const));
  return (hostname) => all.get(hostname) === true;
}

/**
 * Whether a request for a host may come over a connection that was opened for another (RFC 9110 section 7.4). One of HTTP/2 may
 * when the certificate that its client was shown is for both, since clients share such connections (RFC 9113 section 9.1.1).
 *
 * @param handshake undefined: the connection is not of TLS
 */
export function contradicts(
  hostname: string,
  handshake: Handshake | undefined,
  protocol: 'HTTP/1.1' | 'HTTP/2',
): boolean {
  const asked = handshake?.serverName;
  if (asked === undefined || hostnameOf(asked) === hostname) return false;
  return protocol === 'HTTP/1.1' || !handshake!.certificateIsFor(hostname);
}
