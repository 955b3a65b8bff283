import { isIPv4, isIPv6, type Socket } from 'node:net';

/** What a proxy says of a connection that it passes on; the connection's own octets follow. */
export interface ProxyHeader {
  /** Octets of the header itself. */
  readonly octets: number;
  /** Of the client; undefined when the connection is the proxy's own, or the client has none. */
  readonly address: string | undefined;
}

/** Version 1 is a line of text: `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n`. */
const TEXT = /^PROXY (?:UNKNOWN(?: .*)?|(TCP4|TCP6) (\S+) (\S+) (\d{1,5}) (\d{1,5}))$/;
const TEXT_START = Buffer.from('PROXY ');
const TEXT_OCTETS_MAX = 107;

/** Version 2: a signature, version and command, family and transport, then the length of addresses and of what may follow them. */
const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const FIXED_OCTETS = 16;
const MORE_OCTETS_MAX = 4096;
const Command = { LOCAL: 0, PROXY: 1 } as const;
const Family = { IPV4: 1, IPV6: 2 } as const;
const ADDRESS_OCTETS = { [Family.IPV4]: 12, [Family.IPV6]: 36 } as const;

/**
 * Reads the header of the PROXY protocol, version 1 or 2 (haproxy.org, proxy-protocol.txt), that a connection begins with.
 *
 * @returns `partial` when more octets are needed, `malformed` when no header begins like this
 */
export function readProxyHeader(octets: Buffer): ProxyHeader | 'partial' | 'malformed' {
  if (begins(octets, SIGNATURE)) return octets.length < FIXED_OCTETS ? 'partial' : readBinary(octets);
  if (begins(octets, TEXT_START)) return readText(octets);
  return 'malformed';
}

/** As far as there are octets. */
function begins(octets: Buffer, start: Buffer): boolean {
  const length = Math.min(octets.length, start.length);
  return octets.subarray(0, length).equals(start.subarray(0, length));
}

function readText(octets: Buffer): ProxyHeader | 'partial' | 'malformed' {
  const end = octets.subarray(0, TEXT_OCTETS_MAX).indexOf('\r\n');
  if (end === -1) return octets.length < TEXT_OCTETS_MAX ? 'partial' : 'malformed';
  const match = TEXT.exec(octets.toString('latin1', 0, end));
  if (match === null) return 'malformed';
  const [, family, source, destination, ...ports] = match;
  const header = { octets: end + 2, address: source };
  if (family === undefined) return header;
  const isAddress = family === 'TCP4' ? isIPv4 : isIPv6;
  const right = isAddress(source!) && isAddress(destination!) && ports.every((port) => Number(port) <= 65_535);
  return right ? header : 'malformed';
}

function readBinary(octets: Buffer): ProxyHeader | 'partial' | 'malformed' {
  const versionAndCommand = octets[12]!;
  const command = versionAndCommand & 0x0f;
  const family = octets[13]! >> 4;
  const more = octets.readUInt16BE(14);
  if (versionAndCommand >> 4 !== 2 || command > Command.PROXY || family > 3 || more > MORE_OCTETS_MAX)
    return 'malformed';
  const end = FIXED_OCTETS + more;
  if (octets.length < end) return 'partial';
  if (command === Command.LOCAL || (family !== Family.IPV4 && family !== Family.IPV6)) {
    return { octets: end, address: undefined };
  }
  if (more < ADDRESS_OCTETS[family]) return 'malformed';
  return { octets: end, address: family === Family.IPV4 ? ipv4(octets) : ipv6(octets) };
}

function ipv4(octets: Buffer): string {
  return octets.subarray(FIXED_OCTETS, FIXED_OCTETS + 4).join('.');
}

function ipv6(octets: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, at) => octets.readUInt16BE(FIXED_OCTETS + at * 2).toString(16));
  return groups.join(':');
}

/**
 * Reads the header that a socket begins with.
 *
 * @param done is told what it says and what was read behind it; undefined: there was none within the time
 */
export function awaitProxyHeader(
  socket: Socket,
  timeoutMs: number,
  done: (header: ProxyHeader | undefined, rest: Buffer) => void,
): void {
  let seen: Buffer = Buffer.alloc(0);
  const finish = (header: ProxyHeader | undefined) => {
    clearTimeout(timer);
    socket.off('data', onData).off('close', onEnd).off('end', onEnd);
    socket.pause();
    done(header, seen.subarray(header?.octets ?? 0));
  };
  const onData = (chunk: Buffer) => {
    seen = Buffer.concat([seen, chunk]);
    const header = readProxyHeader(seen);
    if (header !== 'partial') finish(header === 'malformed' ? undefined : header);
  };
  const onEnd = () => finish(undefined);
  const timer = setTimeout(onEnd, timeoutMs);
  socket.on('data', onData).on('close', onEnd).on('end', onEnd);
}
