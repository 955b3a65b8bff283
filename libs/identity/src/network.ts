import { isIPv4, isIPv6 } from 'node:net';

/**
 * What attempts are counted by when they are counted by address: an IPv4 address itself, and the /64 network of an IPv6 address,
 * since one subscriber has at least that many (RFC 6177). Text that is no address stands for itself.
 */
export function networkOf(address: string): string {
  if (!address.includes(':')) return address;
  const bare = address.split('%')[0] as string;
  const embedded = bare.slice(bare.lastIndexOf(':') + 1);
  if (/^::ffff:/i.test(bare) && isIPv4(embedded)) return embedded;
  if (!isIPv6(bare)) return bare;
  const [head, tail] = bare.split('::') as [string, string?];
  const left = head === '' ? [] : head.split(':');
  // An embedded IPv4 address stands for the last two groups, which the network does not contain.
  const right = tail ? tail.split(':').flatMap((group) => (group.includes('.') ? ['0', '0'] : [group])) : [];
  const zeros = Array.from({ length: tail === undefined ? 0 : 8 - left.length - right.length }, () => '0');
  const groups = [...left, ...zeros, ...right].slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16));
  return `${groups.join(':')}::/64`;
}
