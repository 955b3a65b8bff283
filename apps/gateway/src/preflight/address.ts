import { BlockList, isIP, isIPv4 } from 'node:net';
import { plainAddress } from '@sluice/identity';

/** Whether an address is one of the proxies whose forwarding headers count. */
export type TrustedProxies = (address: string) => boolean;

/** @param entries addresses and blocks, as config/checks/proxies.ts lets them through */
export function trustedProxies(entries: readonly string[]): TrustedProxies {
  if (entries.length === 0) return () => false;
  const blocks = new BlockList();
  for (const entry of entries) {
    const [address, prefix] = entry.split('/') as [string, string?];
    const isV4 = isIPv4(address);
    blocks.addSubnet(address, prefix === undefined ? (isV4 ? 32 : 128) : Number(prefix), isV4 ? 'ipv4' : 'ipv6');
  }
  return (address) => {
    const plain = plainAddress(address);
    return isIP(plain) !== 0 && blocks.check(plain, isIPv4(plain) ? 'ipv4' : 'ipv6');
  };
}

/** `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1` or `[2001:db8::1]:4711`. */
export function hopAddress(text: string): string | undefined {
  const hop = text.trim();
  if (isIP(hop)) return plainAddress(hop);
  const bracketed = /^\[([^\]]+)\](:\d{1,5})?$/.exec(hop)?.[1];
  if (bracketed !== undefined) return isIP(bracketed) === 6 ? plainAddress(bracketed) : undefined;
  const [address, portNumber, ...rest] = hop.split(':') as [string, string?, ...string[]];
  return rest.length === 0 && portNumber !== undefined && isIPv4(address) ? address : undefined;
}
