import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { costFor } from './nobody.js';

const key = randomBytes(32);
const shares = [
  { memoryKib: 19_456, passes: 2, hashes: 750 },
  { memoryKib: 65_536, passes: 3, hashes: 250 },
];
const addresses = Array.from({ length: 4000 }, (_, index) => `user${index}@example.com`);

test('unknown addresses cost what known ones do, in the same shares, and each always the same', () => {
  const costs = addresses.map((address) => costFor(address, key, shares)!.memoryKib);
  const cheap = costs.filter((memoryKib) => memoryKib === 19_456).length / costs.length;
  expect(cheap).toBeGreaterThan(0.7);
  expect(cheap).toBeLessThan(0.8);
  expect(addresses.map((address) => costFor(address, key, shares)!.memoryKib)).toEqual(costs);
});

test('while nobody has a password there is no cost to go by', () => {
  expect(costFor('ada@example.com', key, [])).toBeUndefined();
});
