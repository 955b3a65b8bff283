import type { Problem } from '@sluice/problem';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { FairTurns, type FairTurnsOptions } from './fair-turns.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const turnsOf = (over: Partial<FairTurnsOptions> = {}) =>
  new FairTurns({ concurrency: 2, waitMsMax: 60_000, waitingMax: 10_000, ...over }, () => Date.now());
const takes = (ms: number) => () => new Promise<void>((resolve) => setTimeout(resolve, ms));
const codeOf = (problem: Problem) => problem.code;

/** Asks for a turn, and notes the order in which turns are had. */
function asking(turns: FairTurns, had: string[], share: string, count: number, ms = 50) {
  return Array.from({ length: count }, (_, index) =>
    turns
      .take({}, share, () => {
        had.push(`${share}${index}`);
        return takes(ms)();
      })
      .catch((error: Problem) => `${share}${index} ${error.code}`),
  );
}

test('no more than the declared number runs at a time, the others wait their turn in order', async () => {
  const turns = turnsOf();
  let running = 0;
  let most = 0;
  const had: number[] = [];
  const all = Array.from({ length: 20 }, (_, index) =>
    turns.take({}, 'a', async () => {
      most = Math.max(most, ++running);
      had.push(index);
      await takes(10)();
      running--;
    }),
  );
  await vi.runAllTimersAsync();
  await Promise.all(all);
  expect(most).toBe(2);
  expect(had).toEqual(Array.from({ length: 20 }, (_, index) => index));
  expect([turns.queued, turns.shareCount, turns.longest]).toEqual([0, 0, 0]);
  expect(turns.waited.pieces).toBe(18);
});

describe('of several tenants', () => {
  test('each has its turn, however many one of them sends', async () => {
    const turns = turnsOf();
    const had: string[] = [];
    const all = [...asking(turns, had, 'flood', 600), ...asking(turns, had, 'b', 8), ...asking(turns, had, 'c', 1)];
    await vi.advanceTimersByTimeAsync(600);
    await vi.runAllTimersAsync();
    await Promise.all(all);
    // Two of the flood ran before anybody else came; then each second or third turn is somebody else's.
    expect(had.filter((name) => name.startsWith('b')).length).toBe(8);
    expect(had.indexOf('b0')).toBeLessThan(6);
    expect(had.indexOf('c0')).toBeLessThan(6);
    expect(had.indexOf('b7')).toBeLessThan(24);
  });

  test('a tenant whose work takes four times as long has a fourth of the turns', async () => {
    const turns = turnsOf({ concurrency: 1 });
    const had: string[] = [];
    void asking(turns, had, 'heavy', 300, 80);
    void asking(turns, had, 'light', 300, 20);
    await vi.advanceTimersByTimeAsync(8000);
    const share = (name: string) => had.filter((each) => each.startsWith(name)).length;
    expect(share('light') / share('heavy')).toBeGreaterThan(3);
    expect(share('light') / share('heavy')).toBeLessThan(5);
  });

  test('the wait of one is told by its own turns, and not by how many others wait', async () => {
    const turns = turnsOf({ waitMsMax: 500 });
    const outcomes = await settledOf([...asking(turns, [], 'flood', 100), ...asking(turns, [], 'b', 8)]);
    expect(outcomes.filter((text) => text?.startsWith('b'))).toEqual([]);
    expect(outcomes.filter((text) => text === undefined).length).toBeGreaterThan(8);
  });

  test('of six hundred clients leaves the logins of another as quick as two', async () => {
    const turns = turnsOf({ waitMsMax: 5000 });
    const login = (share: string) => turns.take({ deadline: Date.now() + 10_000 }, share, takes(20));
    let refused = 0;
    let over = false;
    const client = async () => {
      while (!over) {
        await login('flood').catch(() => refused++);
        await takes(1000)();
      }
    };
    const flood = Array.from({ length: 600 }, client);
    const times: number[] = [];
    const other = (async () => {
      for (let index = 0; index < 100; index++) {
        const began = Date.now();
        await login('b');
        times.push(Date.now() - began);
        await takes(13)();
      }
      over = true;
    })();
    await vi.runAllTimersAsync();
    await Promise.all([other, ...flood]);
    expect(Math.max(...times)).toBeLessThanOrEqual(2 * 20);
    expect(refused).toBeGreaterThan(0);
    expect(turns.refused.late).toBe(0);
  });

  test('together they are bounded, and the longest gives places up', async () => {
    const turns = turnsOf({ waitingMax: 20 });
    const flood = asking(turns, [], 'flood', 100);
    const others = asking(turns, [], 'b', 8);
    expect([turns.queued, turns.shareCount, turns.longest]).toEqual([20, 2, 12]);
    const outcomes = await settledOf([...flood, ...others]);
    expect(outcomes.filter((text) => text?.startsWith('b'))).toEqual([]);
    expect(turns.refused.full).toBe(100 - 2 - 12);
  });
});

/** Lets all of them end. */
async function settledOf<T>(all: readonly Promise<T>[]): Promise<T[]> {
  const settled = Promise.all(all);
  await vi.runAllTimersAsync();
  return settled;
}

describe('whoever', () => {
  test('would wait too long is refused at once, with a time', async () => {
    const turns = turnsOf({ waitMsMax: 100 });
    const refusals: Problem[] = [];
    for (let index = 0; index < 20; index++) {
      void turns.take({}, 'a', takes(50)).catch((problem: Problem) => refusals.push(problem));
    }
    // No time has passed.
    await vi.advanceTimersByTimeAsync(0);
    expect(refusals.length).toBe(20 - 2 - 5);
    expect(refusals.map(codeOf)).toEqual(refusals.map(() => 'OVERLOADED'));
    expect(refusals[0]!.details['retry_after_ms']).toBeGreaterThan(100);
    expect(turns.refused).toEqual({ wait: 13, deadline: 0, full: 0, late: 0 });
  });

  test('has less time than it would take is refused at once', async () => {
    const turns = turnsOf();
    void asking(turns, [], 'a', 22);
    const refused = turns.take({ deadline: Date.now() + 500 }, 'a', takes(1)).catch(codeOf);
    await vi.advanceTimersByTimeAsync(0);
    expect(await refused).toBe('OVERLOADED');
    const inTime = turns.take({ deadline: Date.now() + 1000 }, 'a', takes(1));
    await vi.runAllTimersAsync();
    await expect(inTime).resolves.toBeUndefined();
  });

  test('waits longer than was foretold is refused when it may wait no longer, also while nothing ends', async () => {
    const turns = turnsOf({ waitMsMax: 1000 });
    const hanging = [turns.take({}, 'a', takes(100_000)), turns.take({}, 'a', takes(100_000))];
    const began = Date.now();
    const late = turns.take({}, 'b', takes(1)).catch((problem: Problem) => [problem.code, Date.now() - began]);
    await vi.advanceTimersByTimeAsync(1500);
    expect(await late).toEqual(['OVERLOADED', 1250]);
    expect(turns.queued).toBe(0);
    await vi.runAllTimersAsync();
    await Promise.all(hanging);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('leaves while it waits gives its place up, and costs no work', async () => {
    const turns = turnsOf();
    const running = [turns.take({}, 'a', takes(50)), turns.take({}, 'a', takes(50))];
    const leaving = new AbortController();
    const work = vi.fn<() => Promise<void>>(takes(1));
    const left = expect(turns.take({ signal: leaving.signal }, 'a', work)).rejects.toThrow('left');
    leaving.abort();
    await left;
    expect(turns.queued).toBe(0);
    await vi.runAllTimersAsync();
    await Promise.all(running);
    expect(work).not.toHaveBeenCalled();
  });

  test('fails gives its turn back', async () => {
    const turns = turnsOf();
    for (let attempt = 0; attempt < 5; attempt++) {
      await expect(turns.take({}, 'a', () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    }
    await expect(turns.take({}, 'a', async () => 'yes')).resolves.toBe('yes');
  });
});
