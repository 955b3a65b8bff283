import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Breaker, type StoreState } from './breaker.js';

let answers: boolean;
let probes: number;
let changes: StoreState[];
let breaker: Breaker;

beforeEach(() => {
  vi.useFakeTimers();
  answers = false;
  probes = 0;
  changes = [];
  breaker = new Breaker({
    probe: async () => {
      probes++;
      if (!answers) throw new Error('no answer');
    },
    probeEveryMs: 100,
    failuresMax: 3,
    onChange: (state) => changes.push(state),
  });
});
afterEach(() => {
  breaker.close();
  vi.useRealTimers();
});

test('opens after failures in a row, not after some between successes', () => {
  for (let i = 0; i < 5; i++) {
    breaker.failed('slow');
    breaker.failed('slow');
    breaker.succeeded();
  }
  expect(breaker.state).toBe('up');
  for (let i = 0; i < 9; i++) breaker.failed('slow');
  expect([breaker.state, changes]).toEqual(['lost', ['lost']]);
});

test('probes until there is an answer, and tells each change once', async () => {
  breaker.open('closed');
  breaker.open('closed');
  await vi.advanceTimersByTimeAsync(1_000);
  expect([probes, breaker.state]).toEqual([10, 'lost']);
  answers = true;
  await vi.advanceTimersByTimeAsync(100);
  expect([probes, changes]).toEqual([11, ['lost', 'up']]);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(probes).toBe(11);
});

test('a server that keeps coming and going is trusted later each time, and at once again after a good while', async () => {
  answers = true;
  const lostForMs = async () => {
    breaker.open('closed');
    let ms = 0;
    while (breaker.state === 'lost') {
      await vi.advanceTimersByTimeAsync(100);
      ms += 100;
    }
    return ms;
  };
  const waits: number[] = [];
  for (let i = 0; i < 8; i++) waits.push(await lostForMs());
  expect(waits).toEqual([100, 200, 400, 800, 1600, 3200, 5000, 5000]);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(await lostForMs()).toBe(100);
});

test('closed: nothing is probed any more', async () => {
  breaker.open('closed');
  breaker.close();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(probes).toBe(0);
});

test.each(['an answer', 'none'])(
  'closed while a probe is under way that gets %s: nothing more happens',
  async (how) => {
    const asked = Promise.withResolvers<void>();
    const own = new Breaker({
      probe: () => {
        probes++;
        return asked.promise;
      },
      probeEveryMs: 100,
      failuresMax: 3,
      onChange: (state) => changes.push(state),
    });
    own.open('closed');
    await vi.advanceTimersByTimeAsync(100);
    own.close();
    if (how === 'none') asked.reject(new Error('no answer'));
    else asked.resolve();
    await vi.advanceTimersByTimeAsync(10_000);
    expect([probes, changes]).toEqual([1, ['lost']]);
  },
);
