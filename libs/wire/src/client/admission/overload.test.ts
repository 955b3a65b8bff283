import { describe, expect, it } from 'vitest';
import { logNormal, sharesOf, simulate, type Scenario } from '../../testing/overload-simulation.js';
import { AdaptiveLimit } from './adaptive-limit.js';
import { FixedLimit } from './limiter.js';

const seeds = [1, 2, 3];
const adaptive = () => new AdaptiveLimit({ max: 1000 });

/** Twenty workers, callers with half a second. */
const services = {
  'log-normal': { cost: logNormal(60, 30), capacity: 20 / 60 },
  'of one speed': { cost: () => 60, capacity: 20 / 60 },
  'with two kinds of calls': { cost: (random: () => number) => (random() < 0.2 ? 200 : 2), capacity: 20 / 41.6 },
  fast: { cost: logNormal(20, 10), capacity: 20 / 20 },
};
const names = Object.keys(services) as (keyof typeof services)[];

function scenario(name: keyof typeof services, load: (now: number) => number, over: Partial<Scenario> = {}): Scenario {
  const { cost, capacity } = services[name];
  const rate = (now: number) => load(now) * capacity;
  return { seed: 1, workers: 20, cost, rate, deadlineMs: 500, durationMs: 8000, limiter: adaptive(), ...over };
}

describe.each(names)('a service that is %s', (name) => {
  const { capacity } = services[name];

  it.each([
    ['say their deadline', false],
    ['just leave', true],
  ])('gives what it can at 1.5, 3 and 10 times its capacity, from the start, to callers who %s', (_, leave) => {
    for (const seed of seeds) {
      for (const load of [1.5, 3, 10]) {
        const calls = simulate(scenario(name, () => load, { seed, leave }));
        expect(sharesOf(calls, 0, 2000).rate / capacity, `seed ${seed}, ${load}x, first seconds`).toBeGreaterThan(0.7);
        expect(sharesOf(calls, 2000, 8000).rate / capacity, `seed ${seed}, ${load}x`).toBeGreaterThan(0.9);
      }
    }
  });

  it('answers everybody again within three seconds', () => {
    for (const seed of seeds) {
      const load = (now: number) => (now < 4000 ? 1.5 : now < 8000 ? 3 : 0.7);
      const calls = simulate(scenario(name, load, { seed, durationMs: 14_000 }));
      const { all, ok } = sharesOf(calls, 11_000, 14_000);
      expect(ok, `seed ${seed}`).toBe(all);
    }
  });

  it('refuses nobody at 0.8 times its capacity, from the start', () => {
    for (const seed of seeds) {
      const calls = simulate(scenario(name, () => 0.8, { seed }));
      expect(sharesOf(calls, 0, 8000).refused, `seed ${seed}`).toBe(0);
    }
  });
});

describe('the adaptive limit', () => {
  it('is what keeps the service from collapsing', () => {
    const load = (now: number) => (now < 8000 ? 1.5 : 0.7);
    const calls = simulate(scenario('log-normal', load, { durationMs: 14_000, limiter: new FixedLimit(1000) }));
    expect(sharesOf(calls, 4000, 8000).rate).toBeLessThan(0.1 * services['log-normal'].capacity);
    expect(sharesOf(calls, 10_000, 14_000).answered).toBeLessThan(0.1);
  });

  it('lets bursts through, out of nothing too', () => {
    for (const seed of seeds) {
      const bursts = [0, 2000, 4000, 6000].map((at) => [at, 100] as const);
      const few = simulate(scenario('log-normal', () => 0.1, { seed, bursts, durationMs: 8000 }));
      expect(sharesOf(few, 0, 8000).refused, `seed ${seed}`).toBe(0);
      const wide = { workers: 100_000, cost: logNormal(20, 10), bursts: bursts.map(([at]) => [at, 500] as const) };
      const many = simulate(scenario('log-normal', () => 0.1, { seed, ...wide, durationMs: 8000 }));
      expect(sharesOf(many, 0, 8000).refused, `seed ${seed}, a wide service`).toBe(0);
      const busy = simulate(scenario('log-normal', (now) => (now % 1000 < 100 ? 3 : 0.4), { seed }));
      expect(sharesOf(busy, 0, 8000).refused, `seed ${seed}, bursts of 3x`).toBe(0);
    }
  });

  it('serves a burst that takes most of its callers’ patience', () => {
    for (const seed of seeds) {
      const { cost } = services.fast;
      const bursts = [[2000, 6500]] as const;
      const patient = { rate: () => 0.1, bursts, deadlineMs: 10_000, durationMs: 12_000 };
      const calls = simulate({ seed, workers: 20, cost, ...patient, limiter: adaptive() });
      expect(sharesOf(calls, 0, 12_000), `seed ${seed}`).toMatchObject({ answered: 1, refused: 0 });
    }
  });

  it('follows a service that loses half of its workers and gets them back', () => {
    for (const seed of seeds) {
      const changes = [
        [4000, 10, 1],
        [8000, 20, 1],
      ] as const;
      const calls = simulate(scenario('log-normal', () => 1.5, { seed, changes, durationMs: 12_000 }));
      const { capacity } = services['log-normal'];
      expect(sharesOf(calls, 5000, 8000).rate / capacity).toBeGreaterThan(0.45);
      expect(sharesOf(calls, 9000, 12_000).rate / capacity).toBeGreaterThan(0.9);
    }
  });

  it('does not hold a service down that has become slower and takes as many', () => {
    for (const seed of seeds) {
      const slower = { workers: 100_000, cost: logNormal(20, 10), changes: [[4000, 100_000, 5]] as const };
      const load = () => 1 / services['log-normal'].capacity;
      const calls = simulate(scenario('log-normal', load, { seed, ...slower, durationMs: 12_000 }));
      expect(sharesOf(calls, 4000, 12_000).answered, `seed ${seed}`).toBeGreaterThan(0.85);
      expect(sharesOf(calls, 9000, 12_000).refused, `seed ${seed}`).toBe(0);
    }
  });

  it('leaves patient callers alone whose calls wait a little, or become another mix', () => {
    const patient = { deadlineMs: 10_000, durationMs: 10_000 };
    for (const seed of seeds) {
      let slowOnes = 0;
      const cost = (random: () => number) => (random() < slowOnes ? 150 : 2);
      const rate = (now: number) => {
        slowOnes = now > 3000 ? 0.5 : 0;
        return 0.5;
      };
      const mixed = simulate({ seed, workers: 200, cost, rate, ...patient, limiter: adaptive() });
      expect(sharesOf(mixed, 0, 10_000).refused, `seed ${seed}, another mix`).toBe(0);
      const nobody = { seed, rate: () => 0, ...patient };
      const fast = simulate({ ...nobody, workers: 4, cost: logNormal(0.4, 0.2), loop: 500, limiter: adaptive() });
      expect(sharesOf(fast, 0, 10_000).refused, `seed ${seed}, one call after the other`).toBe(0);
    }
  });

  it('is not cut by callers who ask for what takes long, and leave, while others are answered at once', () => {
    const limiter = adaptive();
    let now = 1000;
    for (let round = 0; round < 300; round++) {
      const calls = Array.from({ length: 33 }, () => ({
        deadline: undefined,
        sentAt: now,
        cohort: 0,
        arrivedAt: 0,
        waitMs: 0,
        share: '',
        beside: undefined,
      }));
      for (const [index, call] of calls.entries()) limiter.sent(call, now, index + 1);
      limiter.blocked(now);
      for (const call of calls.slice(0, 3)) limiter.ended(call, now + 5, 'answered');
      now += 300;
      for (const call of calls.slice(3)) limiter.ended(call, now, 'lost');
    }
    expect(limiter.limit).toBeGreaterThanOrEqual(32);
  });

  it('lets calls go that take long before anything is known of the service', () => {
    const slow = { cost: logNormal(5000, 1000), rate: () => 0, bursts: [[0, 200]] as const };
    const calls = simulate({
      seed: 1,
      workers: 1000,
      ...slow,
      deadlineMs: 60_000,
      durationMs: 30_000,
      limiter: adaptive(),
    });
    expect(sharesOf(calls, 0, 30_000)).toMatchObject({ ok: 200, refused: 0 });
  });

  it.each([
    ['four workers with 100 ms and callers with 500', 100, 500],
    // It takes such a one some seconds to find out.
    ['four workers with 400 ms and callers with 2000', 400, 2000],
  ])('keeps a small service from collapsing: %s', (_, mean, deadlineMs) => {
    const capacity = 4 / mean;
    for (const seed of seeds) {
      for (const leave of [true, false]) {
        const small = { seed, workers: 4, cost: logNormal(mean, mean / 2), deadlineMs, leave, durationMs: 60_000 };
        const calls = simulate({ ...small, rate: () => 3 * capacity, limiter: adaptive() });
        expect(sharesOf(calls, 30_000, 60_000).rate / capacity, `seed ${seed}`).toBeGreaterThan(0.7);
      }
    }
  });
});
