import { expect, test } from 'vitest';
import { FullAddresses } from './full-addresses.js';
import { guestLimits } from './guest-limits.js';

const [limit] = guestLimits({
  GUEST_SPACING_SECONDS: 60,
  GUEST_HOURLY: 10,
  GUEST_DAILY: 50,
  GUEST_ADDRESS_PER_MINUTE: 10,
  GUEST_ADDRESS_HOURLY: 600,
  GUEST_BACKOFF: true,
  GUEST_BACKOFF_SECONDS: 15,
  GUEST_BACKOFF_MULTIPLIER: 2,
}).address as [never];

test('an address is refused for what is left of its wait, counted from before the question, and no longer', () => {
  let now = 1000;
  const full = new FullAddresses(() => now);
  expect(full.refusalOf('192.0.2.1')).toBeUndefined();
  full.remember('192.0.2.1', { limit, waitMs: 5000 }, 990);
  expect(full.refusalOf('192.0.2.1')).toEqual({ limit, waitMs: 4990 });
  expect(full.refusalOf('192.0.2.2')).toBeUndefined();
  now = 5989.5;
  expect(full.refusalOf('192.0.2.1')).toEqual({ limit, waitMs: 1 });
  now = 5990;
  expect(full.refusalOf('192.0.2.1')).toBeUndefined();
});

test('many addresses are forgotten, the oldest first', () => {
  const full = new FullAddresses(() => 0);
  for (let index = 0; index <= 10_000; index++) full.remember(`address ${index}`, { limit, waitMs: 1000 }, 0);
  expect(full.refusalOf('address 0')).toBeUndefined();
  expect(full.refusalOf('address 1')).toBeDefined();
  expect(full.refusalOf('address 10000')).toBeDefined();
});
