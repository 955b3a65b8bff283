import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  createClient,
  fileLock,
  fileStore,
  memoryStore,
  retryAfterMs,
  SluiceError,
  type GuestAlert,
  type SluiceClient,
} from '@sluice/client';
import { startSystem, type TestSystem } from '@sluice/testing';
import { chromium } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { client as plainClient } from './client.js';

const chromiumPath = '/usr/bin/chromium';
const chromiumMissing = existsSync(chromiumPath) ? '' : ` (no ${chromiumPath})`;
const clientModule = fileURLToPath(new URL('../libs/client/dist/index.js', import.meta.url));

let system: TestSystem;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-client-'));
  // Which limits apply is the subject of limits.e2e.test.ts; here all come from one address.
  system = await startSystem({
    env: { ACCESS_TOKEN_SECONDS: '5', PASSWORD_MEMORY_KIB: '64', RATE_LIMIT_ENABLED: 'false' },
  });
});
afterAll(async () => {
  await system?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const apiUrl = () => `${system.baseUrl}/api/v1`;
const refreshes = () => system.log('gateway').split('"path":"/api/v1/auth/refresh"').length - 1;

async function signedIn(): Promise<SluiceClient> {
  const client = createClient({ baseUrl: apiUrl() });
  await client.login(await plainClient(system.baseUrl).register());
  return client;
}

/** Waits until the session's access token is refused, without the client noticing. */
async function expired(client: SluiceClient): Promise<void> {
  const session = await client.session();
  const headers = { authorization: `Bearer ${session?.access_token}` };
  await expect
    .poll(async () => (await fetch(`${apiUrl()}/me`, { headers })).status, { timeout: 20_000, interval: 200 })
    .toBe(401);
}

test('the refresh token in a cookie: refreshed, found again by a page that is loaded anew, and gone after the logout', async () => {
  let cookie = '';
  // What a browser does for a page of the issuer's origin.
  const browser: typeof fetch = async (input, init = {}) => {
    const headers = new Headers(init.headers);
    headers.set('origin', 'http://localhost:8083');
    if (init.credentials === 'include' && cookie !== '') headers.set('cookie', cookie);
    const response = await fetch(input, { ...init, headers });
    const set = response.headers.get('set-cookie');
    if (set !== null) cookie = set.includes('Max-Age=0') ? '' : set.split(';')[0]!;
    return response;
  };
  const page = () => createClient({ baseUrl: apiUrl(), refreshToken: 'cookie', fetch: browser });
  const client = page();
  const session = await client.login(await plainClient(system.baseUrl).register());
  expect(session).not.toHaveProperty('refresh_token');
  await expired(client);
  expect((await client.fetch('/me')).status).toBe(200);
  const loadedAgain = page();
  expect((await loadedAgain.fetch('/me')).status).toBe(200);
  await loadedAgain.logout();
  expect(cookie).toBe('');
  expect(await page().session()).toBeUndefined();
});

test('the contract’s calls, their errors, and a refresh when the token has expired', async () => {
  const client = await signedIn();
  const me = await client.call('GET /me', {});
  expect(me.email).toContain('@');
  const request_id = crypto.randomUUID();
  expect(await client.call('POST /alloc', { request_id, token_count: 5 })).toMatchObject({
    request_id,
    token_count: '5',
  });
  const mismatch = await client.call('POST /alloc', { request_id, token_count: 6 }).catch((error: unknown) => error);
  expect(mismatch).toBeInstanceOf(SluiceError);
  expect(mismatch).toMatchObject({ code: 'IDEMPOTENCY_MISMATCH', status: 409 });

  await expired(client);
  const before = refreshes();
  const responses = await Promise.all(Array.from({ length: 20 }, () => client.fetch('/me')));
  expect(responses.map(({ status }) => status)).toEqual(Array(20).fill(200));
  await expect.poll(() => refreshes() - before).toBe(1);

  const watching = client.stream('GET /metrics/watch', {});
  expect((await watching.next()).value).toHaveProperty('nodes');
  await watching.return();
  expect(await client.call('POST /free', { request_id })).toMatchObject({ state: 'FREED' });
  await client.logout();
  const anonymous = await client.fetch('/me');
  expect([anonymous.status, retryAfterMs(anonymous)]).toEqual([401, undefined]);
});

test('a session that was ended elsewhere signs out, without a loop', async () => {
  const client = await signedIn();
  const session = await client.session();
  const elsewhere = createClient({ baseUrl: apiUrl() });
  await elsewhere.setSession(session);
  await elsewhere.logout({ everywhere: true });
  await expired(client);
  const before = refreshes();
  const responses = await Promise.all(Array.from({ length: 10 }, () => client.fetch('/me')));
  expect(responses.map(({ status }) => status)).toEqual(Array(10).fill(401));
  expect(await client.session()).toBeUndefined();
  await expect.poll(() => refreshes() - before).toBe(1);
});

test('an identity service that is down is no sign-out', async () => {
  const client = await signedIn();
  await expired(client);
  await system.process('user').stop();
  await expect(client.fetch('/me')).rejects.toMatchObject({ code: 'REFRESH_FAILED' });
  expect(await client.session()).toBeDefined();
  system.process('user').start();
  await system.process('user').ready();
  await expect
    .poll(
      () =>
        client.fetch('/me').then(
          ({ status }) => status,
          (error: SluiceError) => error.code,
        ),
      { timeout: 20_000 },
    )
    .toBe(200);
});

test('a guest: one token for all calls at once, kept over a restart, and the id survives becoming a user', async () => {
  const alerts: GuestAlert[] = [];
  const store = memoryStore();
  const options = { baseUrl: apiUrl(), store, guest: true, onAcquire: (alert: GuestAlert) => alerts.push(alert) };
  const guest = createClient(options);
  const responses = await Promise.all(Array.from({ length: 30 }, () => guest.fetch('/me')));
  expect(responses.map(({ status }) => status)).toEqual(Array(30).fill(200));
  const { id } = await guest.call('GET /me', {});
  expect(alerts).toMatchObject([{ inLastHour: 1, record: { cause: 'no_token', outcome: 'issued' } }]);

  const restarted = createClient(options);
  await expired(restarted);
  expect(await restarted.call('GET /me', {})).toMatchObject({ id, guest: true });
  expect(await restarted.guest.canAcquire()).toMatchObject({ allowed: false, reason: 'live_token' });

  const account = { email: `${crypto.randomUUID()}@example.com`, password: 'correct horse battery staple' };
  await restarted.guest.upgrade(account);
  expect(await restarted.call('GET /me', {})).toMatchObject({ id, email: account.email, guest: false });
  expect(await restarted.guest.canAcquire()).toEqual({ allowed: false, reason: 'signed_in' });
  expect(alerts).toHaveLength(1);
});

test('processes that share a folder refresh once', async () => {
  const client = createClient({ baseUrl: apiUrl(), store: fileStore(folder), lock: fileLock(folder) });
  await client.login(await plainClient(system.baseUrl).register());
  await expired(client);
  const program = join(folder, 'program.mjs');
  writeFileSync(
    program,
    `import { createClient, fileLock, fileStore } from ${JSON.stringify(clientModule)};
     const folder = ${JSON.stringify(folder)};
     const client = createClient({ baseUrl: ${JSON.stringify(apiUrl())}, store: fileStore(folder), lock: fileLock(folder) });
     const responses = await Promise.all(Array.from({ length: 10 }, () => client.fetch('/me')));
     process.exit(responses.every(({ status }) => status === 200) ? 0 : 1);`,
  );
  const before = refreshes();
  const codes = await Promise.all(
    Array.from({ length: 3 }, async () => {
      const [code] = await once(spawn(process.execPath, [program], { stdio: 'inherit' }), 'exit');
      return code as number;
    }),
  );
  expect(codes).toEqual([0, 0, 0]);
  // The tokens of this test live for seconds: a slow process may meet the next expiry, never more than one each.
  await expect.poll(() => refreshes() - before).toBeGreaterThanOrEqual(1);
  expect(refreshes() - before).toBeLessThanOrEqual(3);
});

describe.skipIf(chromiumMissing)(`two tabs of a browser${chromiumMissing}`, () => {
  test('share the session through the real gateway', async () => {
    const browser = await chromium.launch({
      executablePath: chromiumPath,
      args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-dev-shm-usage'],
    });
    try {
      const context = await browser.newContext();
      // A page of the gateway's own origin, as an application behind it would be; its modules are the built client.
      const dist = fileURLToPath(new URL('../libs/client/dist', import.meta.url));
      await context.route('**/app/**', (route) => {
        const path = new URL(route.request().url()).pathname.replace('/app/', '');
        return path === ''
          ? route.fulfill({ contentType: 'text/html', body: '<!doctype html><title>App</title>' })
          : route.fulfill({ contentType: 'text/javascript', path: join(dist, path) });
      });
      const account = await plainClient(system.baseUrl).register();
      const tab = async () => {
        const page = await context.newPage();
        await page.goto(`${system.baseUrl}/app/`);
        await page.evaluate(`import('/app/index.js').then(({ createClient, localStorageStore, webLock }) => {
          globalThis.refreshed = [];
          globalThis.client = createClient({
            baseUrl: '/api/v1',
            store: localStorageStore(),
            lock: webLock(),
            fetch(url, init) {
              if (String(url).endsWith('/auth/refresh')) refreshed.push(JSON.parse(init.body).refresh_token);
              return fetch(url, init);
            },
          });
        })`);
        return page;
      };
      const [first, second] = [await tab(), await tab()];
      await first.evaluate(`client.login(${JSON.stringify(account)})`);
      const token = (await first.evaluate('client.session().then((session) => session.access_token)')) as string;
      await second.waitForFunction(
        `client.session().then((session) => session?.access_token === ${JSON.stringify(token)})`,
      );
      const observer = createClient({ baseUrl: apiUrl() });
      await observer.setSession({ access_token: token });
      await expired(observer);
      const calls = `Promise.all(Array.from({ length: 8 }, async () => (await client.fetch('/me')).status))`;
      const statuses = (await Promise.all([first.evaluate(calls), second.evaluate(calls)])) as number[][];
      expect(statuses.flat()).toEqual(Array(16).fill(200));
      const refreshed = (await Promise.all([first.evaluate('refreshed'), second.evaluate('refreshed')])).flat();
      // Tokens live for seconds here: on a machine that stands still for as long there is a second round, with its own token.
      expect(refreshed.length).toBeGreaterThan(0);
      expect(new Set(refreshed).size).toBe(refreshed.length);
    } finally {
      await browser.close();
    }
  });
});
