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
  return (address) => isIP(address) !== 0 && blocks.check(address, isIPv4(address) ? 'ipv4' : 'ipv6');
}

/** Hops of `X-Forwarded-For` that are looked at; a longer chain is cut on its left. */
const HOPS_MAX = 32;

/**
 * The client's address: the socket's, or, when the peer is a trusted proxy, the right-most hop that is not one.
 * A hop that is no address ends the search at the hop to its right, which a trusted proxy wrote.
 *
 * @param forwardedFor the values of `X-Forwarded-For` in the order they arrived, joined by commas
 */
export function clientAddress(peer: string, forwardedFor: string, trusted: TrustedProxies): string {
  let client = plainAddress(peer);
  if (forwardedFor === '' || !trusted(client)) return client;
  const hops = forwardedFor.split(',').slice(-HOPS_MAX);
  for (let index = hops.length - 1; index >= 0; index--) {
    const hop = hopAddress(hops[index]!);
    if (hop === undefined) return client;
    client = hop;
    if (!trusted(hop)) return hop;
  }
  return client;
}

/** `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1` or `[2001:db8::1]:4711`. */
function hopAddress(text: string): string | undefined {
  const hop = text.trim();
  if (isIP(hop)) return plainAddress(hop);
  const bracketed = /^\[([^\]]+)\](:\d{1,5})?$/.exec(hop)?.[1];
  if (bracketed !== undefined) return isIP(bracketed) === 6 ? plainAddress(bracketed) : undefined;
  const [address, portNumber, ...rest] = hop.split(':') as [string, string?, ...string[]];
  return rest.length === 0 && portNumber !== undefined && isIPv4(address) ? address : undefined;
}
