import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { type IncomingHttpHeaders, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { redisMissing, startRedis, startSystem, type TestRedis, type TestSystem } from '@sluice/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { client, type Client } from './client.js';

const run = promisify(execFile);
const root = fileURLToPath(new URL('..', import.meta.url));
const lab = join(root, 'apps/lab/dist/main.js');

interface ExpiryReport {
  readonly status_counts: Record<string, number>;
  readonly results: Record<string, number>;
  readonly refresh_calls: number;
  readonly blocked_by: Record<string, number>;
  readonly passed: boolean;
}

interface LabRun {
  readonly code: number | null;
  readonly report: ExpiryReport;
  readonly errors: string;
}

/** Runs `lab simulate token-expiry` as an operator would. */
async function simulate(baseUrl: string, args: readonly string[], env: Record<string, string> = {}): Promise<LabRun> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-lab-'));
  const output = join(folder, 'report.json');
  try {
    const child = spawn(
      process.execPath,
      [lab, 'simulate', 'token-expiry', '--base-url', baseUrl, '--json', '--output', output, ...args],
      { env: { PATH: process.env['PATH'], ...env }, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let text = '';
    let errors = '';
    child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
    if (text === '') throw new Error(`the lab printed nothing (exit ${code}): ${errors}`);
    return { code, report: JSON.parse(text) as ExpiryReport, errors };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

describe('with the default limits', () => {
  let system: TestSystem;

  beforeAll(async () => {
    system = await startSystem({ env: { PASSWORD_MEMORY_KIB: '64', NODE_BUDGET: '100000' } });
    // The gateway has the keys that verify tokens once somebody was signed in.
    await client(system.baseUrl).signIn();
  });
  afterAll(() => system?.stop());

  test('100 clients × 20 parallel calls on an expired token: 100 refreshes, no 429, no 5xx, 2000 successes', async () => {
    const { code, report } = await simulate(system.baseUrl, [
      '--clients',
      '100',
      '--batch-size',
      '20',
      '--concurrency',
      '20',
    ]);
    expect(report.results).toEqual({ 200: 2000 });
    expect(report.status_counts).toEqual({ 200: 2000, 401: 2000 });
    expect(report.refresh_calls).toBe(100);
    expect(report.blocked_by).toEqual({});
    expect([code, report.passed]).toEqual([0, true]);
  });

  test('without a refresh token: 401 for all, no 429, nothing refreshed', async () => {
    const { code, report } = await simulate(system.baseUrl, ['--rounds', '5']);
    expect(report.results).toEqual({ 401: 30 });
    expect([report.refresh_calls, report.blocked_by, code]).toEqual([0, {}, 0]);
  });

  test('with a refresh token: one refresh, and the calls succeed when they are sent again', async () => {
    const session = await client(system.baseUrl).signIn();
    const env = { REFRESH_TOKEN: session.refreshToken, ROUNDS: '3' };
    const { code, report } = await simulate(system.baseUrl, [], env);
    expect(report.results).toEqual({ 200: 18 });
    expect(report.status_counts).toEqual({ 401: 6, 200: 18 });
    expect([report.refresh_calls, code]).toEqual([1, 0]);
  });

  test('more calls than one address may make: not passed, and it says which dimension', async () => {
    const session = await client(system.baseUrl).signIn();
    const { code, report } = await simulate(system.baseUrl, ['--batch-size', '200'], {
      REFRESH_TOKEN: session.refreshToken,
    });
    expect(report.blocked_by['ip']).toBeGreaterThan(50);
    expect(Object.keys(report.blocked_by)).toEqual(['ip']);
    expect([code, report.passed]).toEqual([99, false]);
  });

  test('ten new guests a minute of one address, by whatever path; refreshes and passwords go on', async () => {
    const from = '127.0.0.77';
    const guest = (index: number) => ({ grant_type: 'guest', device_id: `device ${index}` });
    const oauth = (fields: Record<string, string>) =>
      send(from, '/oauth/token', 'application/x-www-form-urlencoded', new URLSearchParams(fields).toString());
    const json = (path: string, fields: object) => send(from, path, 'application/json', JSON.stringify(fields));
    const ways: ((index: number) => Promise<Reply>)[] = [
      (index) => oauth(guest(index)),
      (index) => json('/oauth/token', guest(index)),
      (index) => json('/api/v1/auth/guest', { device_id: `device ${index}` }),
    ];
    const statuses = [];
    for (let index = 0; index < 10; index++) statuses.push((await ways[index % 3]!(index)).status);
    expect(statuses).toEqual(Array(10).fill(200));

    for (const [index, way] of ways.entries()) {
      const refused = await way(10 + index);
      expect(refused.status).toBe(429);
      const { retry_after_ms: waitMs, ...details } = refused.body['details'] as Record<string, unknown>;
      expect(details).toEqual({ blocked_by: 'ip', policy: 'guest-address-minute', limit: 10, window_seconds: 60 });
      const wait = Math.ceil((waitMs as number) / 1000);
      expect(wait).toBeGreaterThan(0);
      expect(wait).toBeLessThanOrEqual(60);
      expect(refused.headers).toMatchObject({
        'retry-after': String(wait),
        'ratelimit-policy': '"guest-address-minute";q=10;w=60',
        ratelimit: `"guest-address-minute";r=0;t=${wait}`,
      });
    }
    // A token that is alive is no new one.
    expect((await ways[0]!(0)).status).toBe(200);
    expect((await ways[2]!(1)).status).toBe(200);

    const account = { email: 'of-an-office@example.com', password: 'correct horse battery staple' };
    expect((await json('/api/v1/auth/register', account)).status).toBe(200);
    let { refresh_token } = (await json('/api/v1/auth/login', account)).body;
    for (let round = 0; round < 15; round++) {
      const refreshed = await oauth({ grant_type: 'refresh_token', refresh_token: String(refresh_token) });
      expect(refreshed.status).toBe(200);
      refresh_token = refreshed.body['refresh_token'];
      expect((await json('/api/v1/auth/login', account)).status).toBe(200);
    }
    // Another address has a share of its own.
    expect((await send('127.0.0.78', '/oauth/token', 'application/json', JSON.stringify(guest(99)))).status).toBe(200);
  });

  test('an address asks 30 times a minute what a device may ask for, which takes nothing from its guests', async () => {
    const ask = (path: string, index: number) =>
      send('127.0.0.79', path, 'application/json', JSON.stringify({ device_id: `asking device ${index}` }));
    for (let index = 0; index < 30; index++) {
      expect((await ask('/api/v1/auth/guest/limits', index)).status).toBe(200);
    }
    const refused = await ask('/api/v1/auth/guest/limits', 30);
    expect(refused.status).toBe(429);
    expect(refused.body['details']).toMatchObject({ blocked_by: 'ip', policy: 'guest-limits', limit: 30 });
    expect((await ask('/api/v1/auth/guest', 0)).status).toBe(200);
  });

  interface Reply {
    readonly status: number;
    readonly headers: IncomingHttpHeaders;
    readonly body: Record<string, unknown>;
  }

  /** Posts from an address of its own. */
  function send(from: string, path: string, type: string, content: string): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const options = { method: 'POST', localAddress: from, headers: { 'content-type': type } };
      const sent = request(`${system.baseUrl}${path}`, options, async (answer) => {
        let text = '';
        for await (const chunk of answer.setEncoding('utf8')) text += String(chunk);
        resolve({ status: answer.statusCode!, headers: answer.headers, body: JSON.parse(text) });
      });
      sent.once('error', reject);
      sent.end(content);
    });
  }

  test('explain tells an operator what would apply, and spends nothing', async () => {
    const explain = async () => {
      const { stdout } = await run(
        process.execPath,
        [
          join(root, 'apps/gateway/dist/limit/explain.cli.js'),
          'explain',
          'GET',
          '/api/v1/me',
          '--ip',
          '127.9.9.9',
          '--json',
        ],
        { env: { ...process.env, GATEWAY_ADMIN_PORT: adminPort(system) } },
      );
      return (JSON.parse(stdout) as { policies: { policy: string; remaining: number }[] }).policies;
    };
    const first = await explain();
    expect(first).toMatchObject([{ policy: 'default-ip', remaining: 100 }]);
    expect(await explain()).toEqual(first);
  });
});

function adminPort(system: TestSystem): string {
  const gateway = system.system.plan.instances.find(({ name }) => name === 'gateway');
  return new URL(gateway?.adminUrl as string).port;
}

describe.skipIf(redisMissing)(`two gateways on one Redis${redisMissing ? ` (${redisMissing})` : ''}`, () => {
  let redis: TestRedis;
  let system: TestSystem;

  beforeAll(async () => {
    redis = await startRedis();
    system = await startSystem({ env: { REDIS_URL: redis.url, PASSWORD_MEMORY_KIB: '64' }, replicas: { gateway: 2 } });
  });
  afterAll(async () => {
    await system?.stop();
    await redis?.stop();
  });

  const instances = () => system.system.plan.instances.filter(({ name }) => name.startsWith('gateway'));
  const apis = () => instances().map(({ address }) => client(`http://${address}`));

  /** Statuses of calls that are spread over both gateways, with the same token. */
  async function burst(calls: number, accessToken: string): Promise<Record<number, number>> {
    const counts: Record<number, number> = {};
    const headers = { authorization: `Bearer ${accessToken}` };
    const each = apis();
    const answers = await Promise.all(
      Array.from({ length: calls }, (_, i) => each[i % 2]?.call('GET', '/api/v1/strategy', undefined, headers)),
    );
    for (const answer of answers) {
      if (answer !== undefined) counts[answer.status] = (counts[answer.status] ?? 0) + 1;
    }
    return counts;
  }

  const metrics = () =>
    Promise.all(instances().map(async ({ adminUrl }) => (await fetch(`${adminUrl}/metrics`)).text()));

  /** What each gateway says of the shared store: 1 when it answers. */
  const storeUp = async () => (await metrics()).map((text) => Number(/^gateway_limit_store_up (\d)/m.exec(text)?.[1]));

  /** Decisions that were made without Redis, because it was lost or because this machine was too busy to hear it in time. */
  const decidedLocally = async () =>
    (await metrics())
      .map((text) => Number(/^gateway_limit_store_by_mode_total\{mode="local"\} (\d+)/m.exec(text)?.[1] ?? 0))
      .reduce((sum, count) => sum + count, 0);

  /** Spends one whole limit from both gateways: `left` calls pass, and those that Redis was not heard about. */
  async function spend(left: number, accessToken: string): Promise<void> {
    const before = await decidedLocally();
    const { 200: admitted = 0, 429: refused = 0 } = await burst(150, accessToken);
    const unheard = (await decidedLocally()) - before;
    expect(admitted + refused).toBe(150);
    expect(admitted).toBeGreaterThanOrEqual(left);
    expect(admitted).toBeLessThanOrEqual(left + unheard);
  }

  test('are one limit', async () => {
    expect(await storeUp()).toEqual([1, 1]);
    // Registering and logging in are two of the 100 calls a minute of this address.
    const { accessToken } = await (apis()[0] as Client).signIn();
    await spend(98, accessToken);
  });

  test('go on when Redis is killed, and are one limit again when it is back', async () => {
    await redis.kill();
    await expect.poll(storeUp, { timeout: 10_000, interval: 20 }).toEqual([0, 0]);
    // The default mode is local: each gateway has a whole limit of its own.
    const { accessToken } = await (apis()[0] as Client).signIn();
    expect(await burst(180, accessToken)).toEqual({ 200: 180 });
    await redis.restart();
    await expect.poll(storeUp, { timeout: 10_000, interval: 20 }).toEqual([1, 1]);
    // A Redis that lost its memory lets everybody start anew.
    await spend(100, accessToken);
  });

  test('go on when Redis is silent', async () => {
    await redis.kill();
    await redis.restart();
    await expect.poll(storeUp, { timeout: 10_000, interval: 20 }).toEqual([1, 1]);
    const { accessToken } = await (apis()[0] as Client).signIn();
    redis.pause();
    try {
      await expect
        .poll(
          async () => {
            expect(await burst(4, accessToken)).toEqual({ 200: 4 });
            return storeUp();
          },
          { timeout: 10_000, interval: 20 },
        )
        .toEqual([0, 0]);
    } finally {
      redis.resume();
    }
    await expect.poll(storeUp, { timeout: 10_000, interval: 20 }).toEqual([1, 1]);
    const before = await decidedLocally();
    const { 200: admitted = 0 } = await burst(150, accessToken);
    // What Redis was asked while it was silent it may have done when it woke.
    expect(admitted).toBeGreaterThan(0);
    expect(admitted).toBeLessThanOrEqual(98 + (await decidedLocally()) - before);
  });
});
