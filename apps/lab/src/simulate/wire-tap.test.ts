import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { expiredToken } from './expired-token.js';
import { countRefusals, refusalsInLog } from './gateway-watch.js';
import { WireTap } from './wire-tap.js';

test('counts answers, refreshes apart, and what each refusal was counted against', async () => {
  const answers: Record<string, () => Response> = {
    '/me': () => new Response('{}'),
    '/auth/refresh': () => Response.json({ code: 'OVERLOADED' }, { status: 503 }),
    '/broken': () => new Response('<h1>', { status: 502 }),
    '/blocked': () =>
      Response.json(
        { details: { blocked_by: 'user', policy: 'messages', limit: 30, window_seconds: 60, retry_after_ms: 1200 } },
        { status: 429 },
      ),
    '/elsewhere': () => new Response('<h1>slow down</h1>', { status: 429 }),
  };
  const tap = new WireTap();
  const send = tap.wrap(async (input) => {
    const answer = answers[new URL(String(input)).pathname];
    if (answer === undefined) throw Object.assign(new TypeError('fetch failed'), { cause: { code: 'ECONNRESET' } });
    return answer();
  });
  for (const path of ['/me', '/me', '/auth/refresh', '/blocked', '/blocked', '/elsewhere', '/broken'])
    await send(`http://a${path}`);
  await expect(send('http://a/gone')).rejects.toThrow('fetch failed');
  expect(tap.statusCounts).toEqual({ 200: 2, 429: 3, 502: 1 });
  expect(tap.failures).toEqual({ OVERLOADED: 1, unknown: 1 });
  expect([tap.refreshCalls, tap.refreshStatusCounts]).toEqual([1, { 503: 1 }]);
  expect(tap.faults).toEqual({ ECONNRESET: 1 });
  expect([...tap.blocked.values()]).toMatchObject([
    { blocked_by: 'user', policy: 'messages', limit: 30, count: 2, retry_after_ms_max: 1200 },
    { blocked_by: 'unknown', policy: 'unknown', count: 1 },
  ]);
  expect(tap.latenciesMs).toHaveLength(7);
});

test('an expired token keeps the claims of the live one', () => {
  const claims = (token: string) =>
    JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString()) as Record<string, unknown>;
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const live = `${encode({ alg: 'ES256' })}.${encode({ sub: 'ada', exp: 4_000_000_000 })}.c2ln`;
  const expired = expiredToken(live, 'nobody');
  expect(expired.split('.')[0]).toBe(live.split('.')[0]);
  expect(claims(expired)).toMatchObject({ sub: 'ada' });
  expect(claims(expired)['exp']).toBeLessThan(Date.now() / 1000);
  expect(claims(expiredToken(undefined, 'eve'))).toMatchObject({ sub: 'eve' });
});

test('refusals are read from metrics, without those of shadow policies, and from the end of a log', () => {
  expect(
    countRefusals(`# HELP gateway_limit_refusals_total x
gateway_limit_refusals_total{policy="a",blocked_by="ip",shadow="false"} 3
gateway_limit_refusals_total{policy="b",blocked_by="user",shadow="false"} 4
gateway_limit_refusals_total{policy="c",blocked_by="user",shadow="true"} 100
gateway_requests_total{status="429"} 9
`),
  ).toBe(7);
  const folder = mkdtempSync(join(tmpdir(), 'sluice-log-'));
  const file = join(folder, 'gateway.log');
  try {
    const line = (status: number) => `${JSON.stringify({ msg: 'call', status })}\n`;
    writeFileSync(file, line(429));
    appendFileSync(file, `${line(429)}not json\n${line(200)}`);
    expect(refusalsInLog(file, line(429).length)).toBe(1);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
