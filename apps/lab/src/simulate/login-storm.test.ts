import { describe, expect, test } from 'vitest';
import { UsageError } from '../load/scenario.js';
import { readStormOptions } from './login-storm-options.js';
import { judgeStorm, type Logins, type StormFacts } from './login-storm-verdict.js';

const logins = (outcomes: Record<string, number>, p95_ms = 20): Logins => ({
  sent: Object.values(outcomes).reduce((sum, count) => sum + count, 0),
  outcomes,
  p50_ms: p95_ms / 2,
  p95_ms,
});
const facts = (over: Partial<StormFacts> = {}): StormFacts => ({
  tenants: ['a', 'b'],
  wanted_per_second: 1000,
  sent_per_second: 900,
  before: logins({ 200: 24 }, 15),
  other: logins({ 200: 16 }, 29),
  flooding: logins({ 200: 100, '503 OVERLOADED': 900 }),
  ...over,
});

describe('a login storm', () => {
  test('is passed when every login of the other tenant is taken, in less than twice the time', () => {
    expect(judgeStorm(facts())).toEqual({ passed: true, reasons: [], advice: [] });
  });

  test.each([
    ['a refusal', { other: logins({ 200: 7, '503 OVERLOADED': 1 }) }, '1 of 8 logins of b ended with 503 OVERLOADED'],
    ['a slow p95', { other: logins({ 200: 8 }, 31) }, 'p95 of b rose from 15 to 31 ms'],
    ['a wait for the deadline', { flooding: logins({ 200: 1, '504 DEADLINE_EXCEEDED': 3 }) }, '3 logins of a waited'],
  ])('is not passed with %s', (_, over, reason) => {
    const { passed, reasons } = judgeStorm(facts(over));
    expect([passed, reasons.length]).toEqual([false, 1]);
    expect(reasons[0]).toContain(reason);
  });

  test('tells when it was none', () => {
    expect(judgeStorm(facts({ flooding: logins({ 200: 50 }), sent_per_second: 10 })).advice).toHaveLength(2);
  });
});

describe('its options', () => {
  test('have defaults, which variables and flags replace', () => {
    expect(readStormOptions([], {})).toMatchObject({
      origin: 'http://127.0.0.1:8083',
      tenants: ['lab-storm-a', 'lab-storm-b'],
      clients: 600,
      seconds: 10,
    });
    const given = readStormOptions(['--clients', '6000', '--tenants', 'x, y'], {
      BASE_URL: 'http://localhost:9',
      CLIENTS: '5',
    });
    expect(given).toMatchObject({ origin: 'http://127.0.0.1:9', tenants: ['x', 'y'], clients: 6000 });
  });

  test.each([
    [['--clients', '0'], '--clients 0: expected a whole number from 1 to 40000'],
    [['--seconds', '1.5'], '--seconds 1.5: expected'],
    [['--tenants', 'a'], '--tenants a: expected two tenants'],
    [['--tenants', 'a,a'], '--tenants a,a: expected two tenants'],
    [['--base-url', 'http://example.com'], 'example.com is not this machine'],
    [['--client', '5'], '--client'],
  ])('that are wrong are named: %s', (args, message) => {
    expect(() => readStormOptions(args, {})).toThrow(UsageError);
    expect(() => readStormOptions(args, {})).toThrow(message);
  });
});
