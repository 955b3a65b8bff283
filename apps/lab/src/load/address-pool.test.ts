import { describe, expect, it } from 'vitest';
import { AddressPool, forwardedAddress, loopbackAddress } from './address-pool.js';

const backOff = { firstMs: 1000, mostMs: 60_000 };
const pool = (count: number) => new AddressPool(count, loopbackAddress, backOff, () => 0);

describe('AddressPool', () => {
  it('gives addresses in turn', () => {
    const addresses = pool(3);
    const taken = Array.from({ length: 7 }, () => addresses.take(0)!.index);
    expect(taken).toEqual([0, 1, 2, 0, 1, 2, 0]);
  });

  it('passes over an address that was refused, until its back-off is over', () => {
    const addresses = pool(2);
    addresses.refused(addresses.addresses[0]!, 0, 0);
    expect([1, 2, 3].map(() => addresses.take(999)!.index)).toEqual([1, 1, 1]);
    expect([addresses.take(1000)!.index, addresses.take(1000)!.index]).toEqual([0, 1]);
    expect(addresses.held(999)).toBe(1);
  });

  it('gives none while all rest', () => {
    const addresses = pool(2);
    for (const address of addresses.addresses) addresses.refused(address, 0, 5000);
    expect(addresses.take(4999)).toBeUndefined();
    expect(addresses.take(5000)).toBeDefined();
  });

  it('counts calls that were refused together once, doubles for the next, and begins anew after an answer', () => {
    const addresses = pool(1);
    const [address] = addresses.addresses;
    for (let call = 0; call < 10; call++) addresses.refused(address!, 0, 0);
    expect(address!.heldUntilMs).toBe(1000);
    addresses.refused(address!, 1000, 0);
    expect(address!.heldUntilMs).toBe(3000);
    addresses.answered(address!);
    addresses.refused(address!, 3000, 0);
    expect(address!.heldUntilMs).toBe(4000);
  });
});

it('names 60 000 different addresses, none a network or broadcast of a /24', () => {
  for (const addressOf of [loopbackAddress, forwardedAddress]) {
    const all = Array.from({ length: 60_000 }, (_, index) => addressOf(index));
    expect(new Set(all).size).toBe(60_000);
    expect(all.every((address) => !/\.(0|255)$/.test(address))).toBe(true);
  }
  expect([loopbackAddress(0), loopbackAddress(253), loopbackAddress(254)]).toEqual([
    '127.1.0.1',
    '127.1.0.254',
    '127.1.1.1',
  ]);
  expect(forwardedAddress(59_999)).toMatch(/^198\.18\./);
});
