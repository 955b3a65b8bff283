import { isIPv4, isIPv6 } from 'node:net';

/**
 * What attempts are counted by when they are counted by address: an IPv4 address itself, and the /64 network of an IPv6 address,
 * since one subscriber has at least that many (RFC 6177). Text that is no address stands for itself.
 */
export function networkOf(address: string): string {
  if (!address.includes(':')) return address;
  const bare = address.split('%')[0] as string;
  if (!isIPv6(bare)) return bare;
  const groups = groupsOf(bare);
  const embedded = mappedAddress(groups);
  if (embedded !== undefined) return embedded;
  return `${hexadecimal(groups.slice(0, 4))}::/64`;
}

/** An IPv4 address that came in an IPv6 socket (`::ffff:192.0.2.1`, `::ffff:c000:201`; RFC 4291 section 2.5.5.2) as what it is. */
export function plainAddress(address: string): string {
  if (!address.includes(':') || !isIPv6(address)) return address;
  return mappedAddress(groupsOf(address)) ?? address;
}

/** The block that an address belongs to, in its usual form: `10.1.2.3` and 8 give `10.0.0.0`. */
export function blockAddress(address: string, prefixLength: number): string {
  if (isIPv4(address)) return cut(address.split('.').map(Number), prefixLength, 8).join('.');
  const groups = cut(groupsOf(address), prefixLength, 16);
  return new URL(`http://[${hexadecimal(groups)}]`).hostname.slice(1, -1);
}

function cut(parts: readonly number[], prefixLength: number, bits: number): number[] {
  return parts.map((part, index) => {
    const kept = Math.min(bits, Math.max(0, prefixLength - index * bits));
    return (part >> (bits - kept)) << (bits - kept);
  });
}

/** The eight groups of an IPv6 address without a zone. */
function groupsOf(address: string): number[] {
  const [head, tail] = address.split('::') as [string, string?];
  const groups = (text: string) => (text === '' ? [] : text.split(':').flatMap(groupOf));
  const [left, right] = [groups(head), groups(tail ?? '')];
  return [...left, ...Array.from({ length: 8 - left.length - right.length }, () => 0), ...right];
}

/** An embedded IPv4 address stands for the last two groups. */
function groupOf(text: string): number[] {
  if (!text.includes('.')) return [Number.parseInt(text, 16)];
  const [a, b, c, d] = text.split('.').map(Number) as [number, number, number, number];
  return [a * 256 + b, c * 256 + d];
}

function mappedAddress(groups: readonly number[]): string | undefined {
  const [high, low] = [groups[6]!, groups[7]!];
  const isMapped = groups[5] === 0xffff && groups.slice(0, 5).every((group) => group === 0);
  return isMapped ? [high >> 8, high & 255, low >> 8, low & 255].join('.') : undefined;
}

const hexadecimal = (groups: readonly number[]) => groups.map((group) => group.toString(16)).join(':');
