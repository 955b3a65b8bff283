import { describe, expect, it } from 'vitest';
import { readProxyHeader } from './proxy-protocol.js';

const SIGNATURE = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
const binary = (command: number, family: number, more: number[]) =>
  Buffer.from([...SIGNATURE, command, family, more.length >> 8, more.length & 255, ...more]);
const IPV4 = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 4, 1, 0xbb];
const IPV6 = [0x20, 1, 0xd, 0xb8, ...Array<number>(11).fill(0), 1, ...Array<number>(16).fill(9), 1, 1, 2, 2];
const text = (line: string) => Buffer.from(`${line}\r\n`);
const REST = Buffer.from('GET / HTTP/1.1\r\n\r\n');

describe('the header of the PROXY protocol', () => {
  it.each<[string, Buffer, string | undefined]>([
    ['1, IPv4', text('PROXY TCP4 192.0.2.1 198.51.100.1 56324 443'), '192.0.2.1'],
    ['1, IPv6', text('PROXY TCP6 2001:db8::1 2001:db8::2 56324 443'), '2001:db8::1'],
    ['1, unknown', text('PROXY UNKNOWN'), undefined],
    ['1, unknown and more', text('PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535'), undefined],
    ['2, IPv4', binary(0x21, 0x11, IPV4), '192.0.2.1'],
    ['2, IPv6', binary(0x21, 0x21, IPV6), '2001:db8:0:0:0:0:0:1'],
    ['2, with what may follow', binary(0x21, 0x11, [...IPV4, 4, 0, 3, 1, 2, 3]), '192.0.2.1'],
    ['2, of the proxy itself', binary(0x20, 0, []), undefined],
    ['2, of a socket of Unix', binary(0x21, 0x31, Array<number>(216).fill(0)), undefined],
  ])('version %s', (_, header, address) => {
    expect(readProxyHeader(Buffer.concat([header, REST]))).toEqual({ octets: header.length, address });
    for (let cut = 0; cut < header.length; cut++) {
      expect(readProxyHeader(header.subarray(0, cut)), `cut at ${cut}`).toBe('partial');
    }
  });

  it.each<[string, Buffer]>([
    ['none', REST],
    ['an address of the other family', text('PROXY TCP4 2001:db8::1 2001:db8::2 1 2')],
    ['no address', text('PROXY TCP4 localhost 192.0.2.1 1 2')],
    ['a port that is none', text('PROXY TCP4 192.0.2.1 192.0.2.2 65536 2')],
    ['UDP', text('PROXY UDP4 192.0.2.1 192.0.2.2 1 2')],
    ['small letters', text('proxy TCP4 192.0.2.1 192.0.2.2 1 2')],
    ['a line without an end', Buffer.from(`PROXY UNKNOWN ${'x'.repeat(200)}`)],
    ['version 3', binary(0x31, 0x11, IPV4)],
    ['an unknown command', binary(0x22, 0x11, IPV4)],
    ['an unknown family', binary(0x21, 0x41, IPV4)],
    ['too short for its family', binary(0x21, 0x21, IPV4)],
    ['longer than anybody needs', binary(0x21, 0x11, Array<number>(5000).fill(0))],
  ])('%s is refused', (_, octets) => {
    expect(readProxyHeader(octets)).toBe('malformed');
  });
});
