import { expect, test } from 'vitest';
import { blockAddress, networkOf, plainAddress } from './network.js';

test.each([
  ['192.0.2.1', '192.0.2.1'],
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['::ffff:c000:201', '192.0.2.1'],
  ['::FFFF:C000:0202', '192.0.2.2'],
  ['0:0:0:0:0:ffff:192.0.2.1', '192.0.2.1'],
  ['::ffff:0:c000:201', '0:0:0:0::/64'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2::', '2001:db8:1:2::/64'],
  ['2001:0DB8:0001:0002:ffff::1', '2001:db8:1:2::/64'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ['64:ff9b::192.0.2.1', '64:ff9b:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['', ''],
])('%s counts as %s', (address, network) => {
  expect(networkOf(address)).toBe(network);
});

test('addresses in IPv6 sockets are what they are', () => {
  expect(['::ffff:c000:201', '::ffff:192.0.2.1', '192.0.2.1', '::1', 'unix'].map(plainAddress)).toEqual([
    ...['192.0.2.1', '192.0.2.1', '192.0.2.1', '::1', 'unix'],
  ]);
});

test.each([
  ['10.1.2.3', 8, '10.0.0.0'],
  ['10.0.0.0', 8, '10.0.0.0'],
  ['192.168.1.129', 25, '192.168.1.128'],
  ['192.0.2.1', 32, '192.0.2.1'],
  ['192.0.2.1', 0, '0.0.0.0'],
  ['2001:db8::1', 32, '2001:db8::'],
  ['2001:DB8:0:0::', 48, '2001:db8::'],
  ['::1', 128, '::1'],
  ['fe80::ffff', 10, 'fe80::'],
])('%s/%i is of the block %s', (address, length, block) => {
  expect(blockAddress(address, length)).toBe(block);
});
