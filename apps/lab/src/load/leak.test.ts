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

it('does not judge a run of a few minutes, in which caches still fill', () => {
  const scaled = samples(100).map(({ atMs, bytes }) => ({ atMs: atMs / 60, bytes }));
  expect(judgeLeak(scaled).verdict).toBe('unknown');
});

it('finds no leak in memory that never changes', () => {
  const flat = Array.from({ length: 100 }, (_, index) => ({ atMs: index * MINUTE, bytes: 100 * MB }));
  expect(judgeLeak(flat)).toMatchObject({ verdict: 'steady', bytesPerHour: 0 });
});
