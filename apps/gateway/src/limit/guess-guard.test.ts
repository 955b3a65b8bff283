import { createMemoryStore } from '@sluice/limit';
import type { Problem } from '@sluice/problem';
import { beforeEach, expect, it } from 'vitest';
import type { Exchange } from '../exchange.js';
import { GuessGuard } from './guess-guard.js';

const WINDOW_MS = 60_000;

let now: number;
let guard: GuessGuard;
beforeEach(() => {
  now = 5_000_000;
  const store = createMemoryStore({ clock: () => now * 1000 });
  guard = new GuessGuard(
    { limit: 3000, window: WINDOW_MS },
    store,
    false,
    () => undefined,
    () => now,
  );
});

/** Of an exchange, what the guard looks at. */
const from = (clientAddress: string) => ({ head: { clientAddress }, guess: undefined }) as unknown as Exchange;

function guess(address: string, right = false): Problem | undefined {
  const exchange = from(address);
  const refusal = guard.count(exchange) as Problem | undefined;
  if (refusal) return refusal;
  if (right) guard.takeBack(exchange);
  else guard.wasWrong(exchange);
  return undefined;
}

const admitted = (count: number, address: string) =>
  Array.from({ length: count }, () => guess(address)).filter((refusal) => refusal === undefined).length;

/** Wrong guesses from so many addresses, one each. */
const strangers = (count: number) => {
  for (let index = 0; index < count; index++) guess(`10.0.${index >> 8}.${index & 255}`);
};

it('one address alone has what the guard says, and then a unit at a time', () => {
  // Spread, so that they are no storm.
  let passed = 0;
  for (let second = 0; second < 40; second++) {
    passed += admitted(150, '192.0.2.1');
    now += 1000;
  }
  expect(passed).toBeGreaterThanOrEqual(3000);
  expect(passed).toBeLessThanOrEqual(3000 + 40 * 50);
  expect(guess('192.0.2.2')).toBeUndefined();
});

it('in a storm over many addresses each may be wrong three times in a window', () => {
  strangers(200);
  expect(admitted(50, '192.0.2.1')).toBe(3);
  const held = guess('192.0.2.1')!;
  expect(held).toMatchObject({ code: 'RATE_LIMIT_EXCEEDED', details: { policy: 'guess-guard', limit: 3 } });
  now += held.details['retry_after_ms'] as number;
  strangers(200);
  expect(admitted(5, '192.0.2.1')).toBe(1);
});

it('who guesses nothing is let in from any other address, however many at once', () => {
  strangers(300);
  const exchanges = Array.from({ length: 100 }, () => from('192.0.2.9'));
  for (const exchange of exchanges) expect(guard.count(exchange)).toBeUndefined();
  for (const exchange of exchanges) guard.takeBack(exchange);
  expect(guess('192.0.2.9', true)).toBeUndefined();
});

it('the storm is over a second after the last one that was one', () => {
  strangers(200);
  expect(admitted(50, '192.0.2.1')).toBe(3);
  now += 1000;
  expect(admitted(1, '192.0.2.1')).toBe(0);
  now += 1000;
  expect(admitted(50, '192.0.2.1')).toBe(50);
});

it('a wait is told with two digits, never too short, and alike refusals are one problem', () => {
  strangers(200);
  admitted(10, '192.0.2.1');
  now += 17;
  const first = guess('192.0.2.1')!;
  expect(first.details['retry_after_ms']).toBe(20_000);
  now += 1;
  expect(guess('192.0.2.1')).toBe(first);
  expect(first.lasting).toBe(true);
});
