import { expect, it } from 'vitest';
import { judgeLeak } from './leak.js';
import { seededRandom } from './random.js';

const MINUTE = 60_000;
const MB = 1_048_576;
const random = seededRandom(7);
/** Four hours, a reading a minute: a level that rises during the warm-up, a saw-tooth of 20 MB, noise, and growth. */
const samples = (growthPerHour: number) =>
  Array.from({ length: 240 }, (_, minute) => ({
    atMs: minute * MINUTE,
    bytes: (100 + Math.min(minute, 60) + (minute % 13) * 1.5 + random() * 4 + (growthPerHour * minute) / 60) * MB,
  }));

it('finds a leak of 10 MB an hour under a saw-tooth of 20 MB', () => {
  const { verdict, bytesPerHour, bytesPerHourLow, bytesPerHourHigh } = judgeLeak(samples(10));
  expect(verdict).toBe('grows');
  expect(bytesPerHour / MB).toBeCloseTo(10, -1);
  expect(bytesPerHourLow).toBeLessThan(10 * MB);
  expect(bytesPerHourHigh).toBeGreaterThan(8 * MB);
});

it('does not take a warm-up and a saw-tooth for a leak', () => {
  const { verdict, bytesPerHourLow, bytesPerHourHigh } = judgeLeak(samples(0));
  expect(verdict).toBe('steady');
  expect(bytesPerHourLow).toBeLessThan(0);
  expect(bytesPerHourHigh).toBeGreaterThan(0);
});

it('says that it does not know when there are too few readings', () => {
  expect(judgeLeak(samples(50).slice(0, 10)).verdict).toBe('unknown');
  expect(judgeLeak([]).verdict).toBe('unknown');
});

it('tells the slope of a run of a few minutes, in which caches still fill, but does not judge it', () => {
  const short = samples(100).map(({ atMs, bytes }) => ({ atMs: atMs / 60, bytes }));
  expect(judgeLeak(short).verdict).toBe('too short');
  expect(judgeLeak(short).bytesPerHourLow).toBeGreaterThan(0);
});

it.each([
  ['fills more and more slowly', (hour: number) => 150 - 50 * Math.exp(-hour)],
  ['takes a step and then stays, creeping', (hour: number) => (hour < 1.9 ? 120 + 35 * hour : 243 + 2 * hour)],
  ['is given back late', (hour: number) => (hour < 3.5 ? 100 + hour : 80)],
])('does not take a heap for a leak that %s', (_, megabytes) => {
  const shaped = Array.from({ length: 240 }, (_, minute) => ({
    atMs: minute * MINUTE,
    bytes: (megabytes(minute / 60) + random()) * MB,
  }));
  expect(judgeLeak(shaped).verdict).toBe('steady');
  const leaking = shaped.map(({ atMs, bytes }) => ({ atMs, bytes: bytes + (atMs / 3_600_000) * 20 * MB }));
  if (megabytes(4) > 100) expect(judgeLeak(leaking).verdict).toBe('grows');
});

it('finds no leak in memory that never changes', () => {
  const flat = Array.from({ length: 100 }, (_, index) => ({ atMs: index * MINUTE, bytes: 100 * MB }));
  expect(judgeLeak(flat)).toMatchObject({ verdict: 'steady', bytesPerHour: 0 });
});
