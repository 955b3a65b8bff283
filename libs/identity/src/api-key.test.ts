import fc from 'fast-check';
import { expect, it, test } from 'vitest';
import { environmentOfApiKey, newApiKey, randomText } from './api-key.js';

test.each(['live', 'test'] as const)('a %s key has its form, and says so', (environment) => {
  const key = newApiKey(environment);
  expect(key).toMatch(new RegExp(`^slc_${environment}_[0-9A-Za-z]{36}$`));
  expect(environmentOfApiKey(key)).toBe(environment);
  expect(newApiKey(environment)).not.toBe(key);
});

it('has the checksum that others can compute', () => {
  // python3: zlib.crc32(b"slc_live_" + b"0" * 30), in base 62.
  expect(environmentOfApiKey(`slc_live_${'0'.repeat(30)}000000`)).toBeUndefined();
  expect(environmentOfApiKey(`slc_live_${'0'.repeat(30)}4RJ6XM`)).toBe('live');
});

it('tells every key with one character changed, left out or added', () => {
  const key = newApiKey('live');
  const place = fc.integer({ min: 0, max: key.length - 1 });
  fc.assert(
    fc.property(place, fc.constantFrom(...'0Aa~_ é'), (at, character) => {
      const changed = key.slice(0, at) + character + key.slice(at + 1);
      expect(environmentOfApiKey(changed)).toBe(changed === key ? 'live' : undefined);
      expect(environmentOfApiKey(key.slice(0, at) + key.slice(at + 1))).toBeUndefined();
      expect(environmentOfApiKey(key.slice(0, at) + character + key.slice(at))).toBeUndefined();
    }),
  );
});

it('draws every character of base 62, and about equally often', () => {
  const counts = new Map<string, number>();
  for (const character of randomText(62_000)) counts.set(character, (counts.get(character) ?? 0) + 1);
  expect(counts.size).toBe(62);
  // Eight standard deviations.
  expect(Math.min(...counts.values())).toBeGreaterThan(1000 - 8 * 32);
});
