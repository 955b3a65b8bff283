import { describe, expect, test } from 'vitest';
import { judge, type Facts } from './verdict.js';

const good: Facts = {
  story: 'with_refresh_token',
  clients: 1,
  status_counts: { 401: 12, 200: 24 },
  results: { 200: 24 },
  refresh_calls: 1,
  refresh_status_counts: { 200: 1 },
  blocked: [],
  failures: {},
  faults: {},
  continuing_refusals: [{ source: 'metrics', seconds: 3, refusals: 0 }],
};
const blocked = {
  blocked_by: 'ip',
  policy: 'default-ip',
  limit: 100,
  window_seconds: 60,
  count: 3,
  retry_after_ms_max: 900,
};

describe('the verdict', () => {
  test('passes when there was one refresh and nothing was refused', () => {
    expect(judge(good)).toEqual({ passed: true, refused_share: 0, reasons: [], advice: [] });
  });

  test('passes without a refresh token when all is 401', () => {
    const facts = { ...good, story: 'without_refresh_token', status_counts: { 401: 12 }, refresh_calls: 0 } as const;
    expect(judge(facts)).toMatchObject({ passed: true, advice: [] });
  });

  test('5 % refused still pass, more do not; the dimension and the remedy are named', () => {
    const answers = (refused: number) => ({
      ...good,
      refresh_status_counts: {},
      refresh_calls: 0,
      status_counts: { 401: 1, 200: 99 - refused, 429: refused },
      blocked: [{ ...blocked, count: refused }],
    });
    expect(judge(answers(5)).passed).toBe(true);
    const { passed, reasons, advice } = judge(answers(6));
    expect(passed).toBe(false);
    expect(reasons).toEqual(['6 of 100 answers are 429 (6.0 %; at most 5.0 %)']);
    expect(advice[0]).toMatch(
      /^6 × 429 by ip, policy default-ip \(100 in 60 s\), wait up to 900 ms: .*trusted_proxies/,
    );
  });

  test('refused refreshes count as refusals', () => {
    expect(judge({ ...good, refresh_status_counts: { 429: 2 } }).refused_share).toBeCloseTo(2 / 38);
  });

  test('does not pass with more refreshes than clients', () => {
    const { passed, reasons } = judge({ ...good, refresh_calls: 2, refresh_status_counts: { 200: 2 } });
    expect([passed, reasons]).toEqual([false, ['2 refreshes; at most 1: one a client']]);
    expect(judge({ ...good, clients: 2, refresh_calls: 2 }).passed).toBe(true);
  });

  test('does not pass while refusals go on after the run', () => {
    const continuing = [{ source: 'log', seconds: 3, refusals: 7 }] as const;
    const { passed, reasons, advice } = judge({ ...good, continuing_refusals: continuing });
    expect([passed, reasons]).toEqual([false, ["in 3 s after the run the gateway's log still tell of 7 refusals"]]);
    expect(advice.join(' ')).toContain('Somebody goes on asking');
  });

  test('does not pass when nothing answers', () => {
    const facts = {
      ...good,
      status_counts: {},
      refresh_status_counts: {},
      refresh_calls: 0,
      faults: { ECONNREFUSED: 6 },
    };
    expect(judge(facts)).toMatchObject({ passed: false, reasons: ['nothing answered: ECONNREFUSED'] });
  });

  test.each([
    [{ refresh_status_counts: { 401: 2 } }, '2 refreshes were refused'],
    [{ refresh_status_counts: { 401: 1 } }, '1 refresh was refused'],
    [{ results: { 404: 6 } }, '6 × 404: what was asked for is not there; --endpoints names'],
    [{ results: { REFRESH_FAILED: 12 } }, '12 calls ended because their refresh failed'],
    [{ status_counts: { 200: 12 } }, 'the token that should have expired was accepted'],
    [{ continuing_refusals: [] }, 'was not looked at: name the gateway'],
    [{ failures: { OVERLOADED: 9 } }, '9 answers are 5xx, OVERLOADED'],
    [{ blocked: [{ ...blocked, policy: 'guess-guard' }] }, 'limits.guess_guard sets it'],
    [{ blocked: [{ ...blocked, blocked_by: 'unknown' }] }, 'something in front of the gateway'],
  ] as [Partial<Facts>, string][])('%j is explained', (change, sentence) => {
    expect(judge({ ...good, ...change }).advice.join(' ')).toContain(sentence);
  });
});
