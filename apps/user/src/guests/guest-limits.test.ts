import { expect, test } from 'vitest';
import { backoffMs, guestLimits, longestRefusal } from './guest-limits.js';

const limits = guestLimits({
  GUEST_SPACING_SECONDS: 60,
  GUEST_HOURLY: 10,
  GUEST_DAILY: 50,
  GUEST_ADDRESS_PER_MINUTE: 10,
  GUEST_ADDRESS_HOURLY: 600,
  GUEST_BACKOFF_SECONDS: 15,
});
const [spacing, hour, day] = limits.device as [never, never, never];

test('nothing refuses a device that has no token yet', () => {
  expect(longestRefusal([{ limit: spacing, ageMs: undefined }])).toBeUndefined();
});

test('a limit refuses until its oldest token has left the window', () => {
  expect(longestRefusal([{ limit: spacing, ageMs: 59_999 }])).toMatchObject({ waitMs: 1 });
  expect(longestRefusal([{ limit: spacing, ageMs: 60_000 }])).toBeUndefined();
});

test('the longest wait names its limit', () => {
  const refusal = longestRefusal([
    { limit: spacing, ageMs: 30_000 },
    { limit: hour, ageMs: 1_800_000 },
    { limit: day, ageMs: 86_399_000 },
  ]);
  expect(refusal).toMatchObject({ limit: { name: 'hour', blockedBy: 'user' }, waitMs: 1_800_000 });
});

test('the back-off doubles and is bounded', () => {
  expect([1, 2, 3, 4].map((refusals) => backoffMs(limits, refusals))).toEqual([15_000, 30_000, 60_000, 120_000]);
  expect(backoffMs(limits, 1000)).toBe(3_600_000);
});
