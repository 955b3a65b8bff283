import { expect, test } from 'vitest';
import { allowanceOf } from './allowance.js';
import { backoffMs, guestLimits, type GuestLimit, guestTerms, longestRefusal } from './guest-limits.js';

const settings = {
  GUEST_SPACING_SECONDS: 60,
  GUEST_HOURLY: 10,
  GUEST_DAILY: 50,
  GUEST_ADDRESS_PER_MINUTE: 10,
  GUEST_ADDRESS_HOURLY: 600,
  GUEST_BACKOFF: true,
  GUEST_BACKOFF_SECONDS: 15,
  GUEST_BACKOFF_MULTIPLIER: 2,
};
const limits = guestLimits(settings);
const [spacing, hour, day] = limits.device as [GuestLimit, GuestLimit, GuestLimit];
const had = (limit: GuestLimit, ageMs: number | undefined) => ({
  limit,
  ageMs,
  used: ageMs === undefined ? 0 : limit.count,
});

test('nothing refuses a device that has no token yet', () => {
  expect(longestRefusal([had(spacing, undefined)])).toBeUndefined();
});

test('a limit refuses until its oldest token has left the window', () => {
  expect(longestRefusal([had(spacing, 59_999)])).toMatchObject({ waitMs: 1 });
  expect(longestRefusal([had(spacing, 60_000)])).toBeUndefined();
});

test('the longest wait names its limit', () => {
  const refusal = longestRefusal([had(spacing, 30_000), had(hour, 1_800_000), had(day, 86_399_000)]);
  expect(refusal).toMatchObject({ limit: { name: 'hour', blockedBy: 'user' }, waitMs: 1_800_000 });
});

test('the back-off doubles and is bounded', () => {
  expect([1, 2, 3, 4].map((refusals) => backoffMs(limits, refusals))).toEqual([15_000, 30_000, 60_000, 120_000]);
  expect(backoffMs(limits, 1000)).toBe(3_600_000);
});

test('the back-off multiplies by what was set, or is off', () => {
  const threefold = guestLimits({ ...settings, GUEST_BACKOFF_MULTIPLIER: 3 });
  expect([1, 2, 3].map((refusals) => backoffMs(threefold, refusals))).toEqual([15_000, 45_000, 135_000]);
  const even = guestLimits({ ...settings, GUEST_BACKOFF_MULTIPLIER: 1 });
  expect(backoffMs(even, 1000)).toBe(15_000);
  const off = guestLimits({ ...settings, GUEST_BACKOFF: false });
  expect([1, 20].map((refusals) => backoffMs(off, refusals))).toEqual([0, 0]);
});

test('a spacing of nothing is no limit', () => {
  const without = guestLimits({ ...settings, GUEST_SPACING_SECONDS: 0 });
  expect(without.device.map(({ name }) => name)).toEqual(['hour', 'day']);
});

test('what a device may ask for is told in the words of a refusal, with what is left of each limit', () => {
  const usages = [had(spacing, 30_000), { limit: hour, used: 4, ageMs: undefined }];
  const refusal = { limit: spacing, waitMs: 30_000 };
  const terms = guestTerms(settings);
  expect(allowanceOf({ usages, refusal, device: { refusals: 2 }, live: true, terms })).toMatchObject({
    allowed: false,
    live_token: true,
    policy: 'guest-spacing',
    blocked_by: 'user',
    retry_after_ms: 30_000,
    refusals: 2,
    limits: [
      { policy: 'guest-spacing', limit: 1, window_seconds: 60, remaining: 0, retry_after_ms: 30_000 },
      { policy: 'guest-hour', limit: 10, window_seconds: 3600, remaining: 6, retry_after_ms: 0 },
    ],
    terms: { spacing_seconds: 60, hourly: 10, daily: 50, backoff: true, backoff_seconds: 15, backoff_multiplier: 2 },
  });
});
