import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { backOffMs, nextMultiplier } from './rate-controller.js';

const bounds = { multiplierMin: 0.2, multiplierMax: 1.5 };

describe('nextMultiplier', () => {
  it.each([
    ['over 10 % refused: ×0.8', 101, 0.8],
    ['exactly 10 % refused: as it is', 100, 1],
    ['between: as it is', 50, 1],
    ['exactly 1 % refused: as it is', 10, 1],
    ['under 1 % refused: ×1.1', 9, 1.1],
    ['nothing refused: ×1.1', 0, 1.1],
  ])('%s', (_, refused, expected) => {
    expect(nextMultiplier(1, { answered: 1000, refused }, bounds)).toBeCloseTo(expected, 12);
  });

  it('stays as it is when nothing was answered', () => {
    expect(nextMultiplier(0.7, { answered: 0, refused: 0 }, bounds)).toBe(0.7);
  });

  it('stays within its bounds whatever comes', () => {
    const outcomes = fc.array(
      fc.nat(1000).chain((answered) => fc.record({ answered: fc.constant(answered), refused: fc.nat(answered) })),
    );
    fc.assert(
      fc.property(outcomes, (history) => {
        const last = history.reduce((multiplier, outcome) => nextMultiplier(multiplier, outcome, bounds), 1);
        return last >= bounds.multiplierMin && last <= bounds.multiplierMax;
      }),
    );
  });

  it('settles near the rate that a server serves', () => {
    // A server that serves what a multiplier of 0.5 asks and refuses the rest.
    let multiplier = 1;
    const seen: number[] = [];
    for (let step = 0; step < 100; step++) {
      const refused = Math.max(0, multiplier - 0.5) / multiplier;
      multiplier = nextMultiplier(multiplier, { answered: 1000, refused: refused * 1000 }, bounds);
      if (step > 20) seen.push(multiplier);
    }
    expect(Math.min(...seen)).toBeGreaterThan(0.35);
    expect(Math.max(...seen)).toBeLessThan(0.65);
  });
});

describe('backOffMs', () => {
  const backOff = { firstMs: 1000, mostMs: 60_000 };

  it('doubles with each refusal in a row, up to its most', () => {
    const waits = [1, 2, 3, 6, 7, 1000].map((attempt) => backOffMs(backOff, attempt, 0, 0));
    expect(waits).toEqual([1000, 2000, 4000, 32_000, 60_000, 60_000]);
  });

  it('obeys the server when it asks for longer, and never comes back earlier', () => {
    expect(backOffMs(backOff, 1, 90_000, 0)).toBe(90_000);
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 50 }),
        fc.nat(300_000),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (n, asked, random) => {
          const wait = backOffMs(backOff, n, asked, random);
          return wait >= asked && wait <= Math.ceil(Math.max(60_000, asked) * 1.25);
        },
      ),
    );
  });
});
