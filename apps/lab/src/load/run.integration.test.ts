import { describe, expect, it, onTestFinished } from 'vitest';
import { type Behaviour, type SeenCall, startSmallGateway } from '../../test-support/small-gateway.js';
import { reportOf } from '../report/report.js';
import { planOf, type LoadOptions } from './plan.js';
import { runLoad } from './run.js';
import { readScenario, type Scenario } from './scenario.js';

const never = new AbortController().signal;

async function run(
  behaviour: Behaviour,
  changes: Partial<Scenario>,
  options: Partial<LoadOptions> = {},
  signal = never,
) {
  const gateway = await startSmallGateway(behaviour);
  onTestFinished(() => gateway.close());
  const scenario = { ...readScenario('light_load'), ...changes };
  const plan = planOf(scenario, {
    baseUrl: gateway.url,
    timeScale: 300,
    scaleAddresses: false,
    addressMode: 'source',
    seed: 1,
    callTimeoutMs: 10_000,
    ...options,
  });
  const result = await runLoad(plan, [], signal, () => undefined);
  return { gateway, result, report: reportOf(result, {}) };
}

const small = { sessions: 20, minutes: 5, addresses: 4, messages_per_minute_per_address: 30 } as const;

describe('a load run', () => {
  it('creates sessions first, talks to them, and deletes them', async () => {
    const { gateway, report } = await run({}, small);
    expect(report.calls).toMatchObject({ success_share: 1, refused_share: 0 });
    expect(report.sessions).toMatchObject({ created: 20, deleted: 20, lost: 0 });
    expect(gateway.sessions.size).toBe(0);
    expect(report.kinds.map(({ kind }) => kind)).toEqual([
      'guest',
      'create',
      'message',
      'history',
      'session',
      'delete',
    ]);
    const first = (path: RegExp) => gateway.seen.findIndex((call) => path.test(call.path));
    expect(first(/guest/)).toBeLessThan(first(/sessions$/));
    expect(first(/sessions$/)).toBeLessThan(first(/messages$/));
  });

  it('comes from as many source addresses as it should, in turn', async () => {
    const { gateway } = await run({}, small);
    const counts = new Map<string, number>();
    for (const { address } of gateway.seen) counts.set(address, (counts.get(address) ?? 0) + 1);
    expect([...counts.keys()].sort()).toEqual(['127.1.0.1', '127.1.0.2', '127.1.0.3', '127.1.0.4']);
    expect(Math.max(...counts.values())).toBeLessThan(Math.min(...counts.values()) * 1.5);
  });

  it('says its addresses in X-Forwarded-For when the proxy is trusted', async () => {
    const { gateway } = await run({}, small, { addressMode: 'forwarded' });
    expect(new Set(gateway.seen.map(({ forwardedFor }) => forwardedFor)).size).toBe(4);
    expect(new Set(gateway.seen.map(({ address }) => address))).toEqual(new Set(['127.0.0.1']));
  });

  it('registers and signs in when its users have accounts, several sessions each', async () => {
    const { report } = await run({}, { ...small, users: 'accounts', sessions_per_user: 5 });
    const sent = Object.fromEntries(report.kinds.map(({ kind, sent }) => [kind, sent]));
    expect(sent).toMatchObject({ register: 4, login: 4, create: 20 });
    expect(report.calls.failed).toBe(0);
  });

  it.each([
    ['has expired by its own time', { seconds: 0.05 }, 0],
    ['is refused, and replays the call', { calls: 3 }, 15],
  ])('refreshes a token that %s', async (_, firstToken, replayed) => {
    const { gateway, report } = await run({ firstToken }, small);
    const { sent, ok } = report.kinds.find(({ kind }) => kind === 'refresh')!;
    // Once for each user, whatever else of the user was under way.
    expect(sent).toBe(ok);
    expect(ok).toBeLessThanOrEqual(20);
    expect(ok).toBeGreaterThanOrEqual(15);
    expect(report.calls.failed).toBe(0);
    expect(gateway.seen.length - report.calls.sent).toBeGreaterThanOrEqual(replayed);
  });

  it('counts refusals by dimension, slows down, and leaves refused addresses alone', async () => {
    const refuse = (call: SeenCall) =>
      call.path.endsWith('/messages') && call.method === 'POST'
        ? {
            status: 429,
            headers: { 'retry-after': '60' },
            body: { code: 'RATE_LIMIT_EXCEEDED', details: { blocked_by: 'ip' } },
          }
        : undefined;
    const { gateway, report } = await run({ refuse }, small);
    expect(report.refused_by['ip']).toBe(report.calls.refused);
    // A few are under way before the first refusal comes; none follow.
    const messages = gateway.seen.filter(({ path, method }) => path.endsWith('/messages') && method === 'POST');
    const planned = report.kinds.find(({ kind }) => kind === 'message')!.planned;
    expect(messages.length).toBeLessThan(planned / 2);
    expect(report.unsent['every address rests']).toBeGreaterThan(20);
    // Deleted all the same, in the end.
    expect(gateway.sessions.size).toBe(0);
    expect(report.sessions.deleted).toBe(20);
    expect(report.passed).toBe(false);
  });

  it('counts a stream that ends with an error as failed', async () => {
    const reply = () => [{ text: 'Wish ' }, { error: { status: 503, code: 'UNAVAILABLE' } }];
    const { report } = await run({ reply }, small);
    expect(report.failures['message: 503 UNAVAILABLE']).toBe(report.kinds.find(({ kind }) => kind === 'message')!.sent);
  });

  it('deletes its sessions and reports when it is interrupted', async () => {
    const interruption = new AbortController();
    const refuse = (call: SeenCall) => {
      if (call.path.endsWith('/messages')) interruption.abort();
      return undefined;
    };
    const { gateway, report } = await run({ refuse }, small, { timeScale: 30 }, interruption.signal);
    expect(report.interrupted).toBe(true);
    expect(report.elapsed_ms).toBeLessThan(9_000);
    expect(report.sessions.created).toBeGreaterThan(0);
    expect(gateway.sessions.size).toBe(0);
  });

  it('asks less and less often where no session can be created', async () => {
    const refuse = (call: SeenCall) =>
      call.path.endsWith('/auth/guest') ? { status: 503, body: { code: 'UNAVAILABLE' } } : undefined;
    const { gateway, report } = await run({ refuse }, small);
    // Of a second, 0.92 until the clean-up: at 0, 50, 150, 350 and 750 ms or a little later, for each of 20 sessions.
    expect(gateway.seen.length).toBeLessThanOrEqual(5 * 20);
    expect(report.failures['guest: 503 UNAVAILABLE']).toBe(gateway.seen.length);
  });

  it('takes no token that could not be sent', async () => {
    const refuse = (call: SeenCall) =>
      call.path.endsWith('/auth/guest')
        ? { status: 200, body: { access_token: 'a\r\nx-admin: 1', expires_in: 900 } }
        : undefined;
    const { gateway, report } = await run({ refuse }, small);
    expect(new Set(gateway.seen.map(({ path }) => path))).toEqual(new Set(['/api/v1/auth/guest']));
    expect(report.sessions.created).toBe(0);
    expect(report.passed).toBe(false);
  });

  it('forgets a session that the server does not know', async () => {
    const refuse = (call: SeenCall) =>
      call.path.includes('/messages') ? { status: 404, body: { code: 'NOT_FOUND' } } : undefined;
    const { report } = await run({ refuse }, small);
    expect(report.sessions.lost).toBe(20);
    expect(report.unsent['no live session']).toBeGreaterThan(0);
  });
});

it('sees a stall of the server in the corrected 99th percentile, not in what a closed model would report', async () => {
  // For two seconds in the middle nothing is answered; then everything at once.
  let stallFrom = Number.POSITIVE_INFINITY;
  const delayMs = (call: SeenCall) => {
    if (!call.path.endsWith('/messages')) return 0;
    if (stallFrom === Number.POSITIVE_INFINITY) stallFrom = Date.now() + 1500;
    const now = Date.now();
    return now >= stallFrom && now < stallFrom + 2000 ? stallFrom + 2000 - now : 0;
  };
  const changes = { ...small, minutes: 30, mix: { message: 1, history: 0, session: 0 } } as const;
  const { report } = await run({ delayMs }, changes, { timeScale: 300 });
  expect(report.latency.corrected.p99).toBeGreaterThan(1500);
  expect(report.latency.corrected.max).toBeLessThan(4000);
}, 30_000);
