import { isIP } from 'node:net';
import { faultAt, type FileFault } from '@sluice/config';
import { blockAddress, plainAddress } from '@sluice/identity';
import type { Subject } from './check.js';

/** Addresses and blocks (RFC 4632, RFC 4291 section 2.3) that a peer can have. */
export function* proxies({ config }: Subject): Iterable<FileFault> {
  for (const key of ['trusted_proxies', 'proxy_protocol'] as const) {
    for (const [index, entry] of config[key].entries()) {
      const fault = proxyFault(entry);
      if (fault) yield faultAt([key, index], { value: entry, ...fault });
    }
  }
}

function proxyFault(entry: string): { expected: string; meant?: string } | undefined {
  const [address, prefix, ...rest] = entry.split('/') as [string, string?, ...string[]];
  const family = isIP(address);
  const bits = family === 4 ? 32 : 128;
  const length = prefix === undefined ? bits : /^\d{1,3}$/.test(prefix) ? Number(prefix) : Number.NaN;
  if (family === 0 || rest.length > 0 || !(length <= bits)) {
    return { expected: 'an address or a block such as 10.0.0.0/8' };
  }
  if (plainAddress(address) !== address) {
    return { expected: 'an IPv4 address as such: one in an IPv6 socket is compared as what it is' };
  }
  const block = blockAddress(address, length);
  if (block === blockAddress(address, bits)) return undefined;
  return { expected: 'a block without bits behind its prefix', meant: `${block}/${length}` };
}
