import { expect, test } from 'vitest';
import { UsageError } from '../../load/scenario.js';
import { readGuestStormOptions } from './options.js';
import { guestStormTable, judgeGuestStorm } from './report.js';
import { STORY, type Occasion } from './story.js';
import type { OccasionOutcome } from './worker.js';

const options = { apiUrl: 'http://127.0.0.1:8083/api/v1', processes: 4 };
const occasions = STORY.flatMap((burst) => burst.occasions);
const outcome = (occasion: Occasion, by: string, ...asked: OccasionOutcome['asked']): OccasionOutcome => ({
  occasion,
  by,
  asked,
});
const issued = (sessionId: string) => ({ status: 200, sessionId, policy: '' });
const refused = { status: 429, sessionId: '', policy: 'guest-spacing' };

test('the story is the one of 97: 59 by hand, 30 after failed calls, 8 by restarts, in bursts of 34, 58 and 5', () => {
  expect(STORY.map((burst) => burst.occasions.length)).toEqual([34, 58, 5]);
  const count = (cause: string) => occasions.filter((occasion) => occasion.cause === cause).length;
  expect(['manual_test', 'api_failure', 'service_restart'].map(count)).toEqual([59, 30, 8]);
});

test('one new token, one returned, the rest avoided: passed, and it says by what', () => {
  const outcomes = occasions.map((occasion, index) =>
    index === 0
      ? outcome(occasion, 'asked', issued('a'))
      : index === 1
        ? outcome(occasion, 'asked', issued('a'))
        : outcome(occasion, index < 5 ? 'shared_store' : index > 91 ? 'interval' : 'live_token'),
  );
  const report = judgeGuestStorm({ options, outcomes, naive: [issued('x'), refused, refused] });
  expect(report).toMatchObject({
    passed: true,
    reasons: [],
    acquisitions: 1,
    requests: 2,
    avoided_by: { live_token: 87, interval: 5, shared_store: 3, returned: 1 },
    without_client: { requests: 3, acquisitions: 1, refused_by: { 'guest-spacing': 2 } },
  });
  expect(guestStormTable(report)).toMatch(/avoided 87 +the token that was kept is alive \(live_token\)/);
});

test.each([
  ['ten new tokens', (index: number) => (index < 10 ? `s${index}` : undefined), '10 new tokens; fewer than 10'],
  ['none', () => undefined, 'no token was issued at all'],
])('%s: not passed', (_, sessionOf, reason) => {
  const outcomes = occasions.map((occasion, index) => {
    const id = sessionOf(index);
    return id === undefined ? outcome(occasion, 'live_token') : outcome(occasion, 'asked', issued(id));
  });
  const report = judgeGuestStorm({ options, outcomes, naive: undefined });
  expect(report.passed).toBe(false);
  expect(report.reasons.join()).toContain(reason);
});

test('a refusal by the server, an error and a moment that is not accounted for are not passed over', () => {
  const [first, second, third] = occasions as [Occasion, Occasion, Occasion];
  const outcomes = [
    outcome(first, 'asked', issued('a')),
    outcome(second, 'RATE_LIMIT_EXCEEDED', refused),
    outcome(third, 'LOCK_TIMEOUT'),
  ];
  const { reasons, avoided_by } = judgeGuestStorm({ options, outcomes, naive: undefined });
  expect(avoided_by).toEqual({ 'refused: guest-spacing': 1, LOCK_TIMEOUT: 1 });
  expect(reasons).toEqual([
    'the server refused 1 requests: the client asked where it should have waited',
    '3 of 97 occasions are accounted for',
    '1 occasions ended with LOCK_TIMEOUT',
  ]);
});

test('options are read, and wrong ones refused by name', () => {
  expect(readGuestStormOptions(['--processes', '2', '--no-compare'], { BASE_URL: 'http://localhost:9' })).toEqual({
    apiUrl: 'http://127.0.0.1:9/api/v1',
    processes: 2,
    pauseSeconds: 0,
    compare: false,
    output: undefined,
    jsonOnly: false,
  });
  for (const [args, message] of [
    [['--processes', '0'], '--processes 0: expected a whole number from 1 to 16'],
    [['--pause', '1.5'], '--pause 1.5'],
    [['--base-url', 'sluice'], '--base-url sluice: expected http://host:port'],
    [['--nonsense'], 'nonsense'],
  ] as const) {
    expect(() => readGuestStormOptions(args, {})).toThrow(message);
    expect(() => readGuestStormOptions(args, {})).toThrow(UsageError);
  }
});
