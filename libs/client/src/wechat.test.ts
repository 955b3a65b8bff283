import { fileURLToPath } from 'node:url';
import { createContext, runInContext, type Context } from 'node:vm';
import { build } from 'vite';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { json, problem, startGateway, type TestGateway } from './gateway.fixture.js';
import type * as Sluice from './index.js';
import { MiniProgram } from './wechat.fixture.js';

let script: string;
let gateway: TestGateway;
let wx: MiniProgram;
beforeAll(async () => {
  const output = await build({
    configFile: false,
    logLevel: 'silent',
    build: {
      write: false,
      lib: { entry: fileURLToPath(new URL('index.ts', import.meta.url)), formats: ['iife'], name: 'sluice' },
    },
  });
  const [{ output: chunks }] = output as unknown as [{ output: { code: string }[] }];
  script = chunks[0]?.code as string;
});
beforeEach(async () => {
  gateway = await startGateway();
  wx = new MiniProgram();
});
afterEach(() => gateway.close());

/** The client as a mini-program loads it: there is the language, `wx` and timers, and nothing else. */
function launch(): { context: Context; sluice: typeof Sluice } {
  const context = createContext({ wx, setTimeout, clearTimeout });
  runInContext(script, context);
  return { context, sluice: runInContext('sluice', context) as typeof Sluice };
}

function client(options: Partial<Sluice.ClientOptions> = {}): Sluice.SluiceClient {
  const { sluice } = launch();
  return sluice.createClient({ baseUrl: gateway.baseUrl, ...sluice.weChat(), ...options });
}

test('there is nothing of a browser or of Node in the stand-in', () => {
  const missing = ['URL', 'URLSearchParams', 'Headers', 'Response', 'fetch', 'AbortController', 'AbortSignal'];
  missing.push('TextDecoder', 'TextEncoder', 'crypto', 'process', 'localStorage', 'navigator', 'structuredClone');
  const { context } = launch();
  for (const name of missing) expect(runInContext(`typeof ${name}`, context), name).toBe('undefined');
});

test('signs in, calls, and is signed in after the mini-program was started again', async () => {
  const first = client();
  await first.login({ email: 'a@b.c', password: 'right' });
  expect(await first.call('GET /me', {})).toMatchObject({ guest: false });
  const again = client();
  expect((await again.fetch('/me')).status).toBe(200);
  await again.logout();
  expect(await client().session()).toBeUndefined();
  expect([...wx.storage.keys()]).toEqual([]);
});

test('twenty calls on an expired token: six at once, one refresh, which goes first', async () => {
  const mine = client();
  await mine.setSession(gateway.open());
  gateway.expireAll();
  const responses = await Promise.all(Array.from({ length: 20 }, () => mine.fetch('/me')));
  expect(responses.map(({ status }) => status)).toEqual(Array(20).fill(200));
  expect(gateway.count('POST /auth/refresh')).toBe(1);
  expect(wx.mostUnderWay).toBe(6);
  // Not behind all that waits: those that came late were never refused.
  const refresh = wx.requests.findIndex(({ url }) => url.endsWith('/auth/refresh'));
  expect(refresh).toBeLessThan(20);
});

test('two clients of one storage share one guest, whose device nobody guesses', async () => {
  const { sluice } = launch();
  const options = () => ({ baseUrl: gateway.baseUrl, guest: true, ...sluice.weChat() });
  const clients = [sluice.createClient(options()), sluice.createClient(options())];
  const calls = clients.flatMap((each) => Array.from({ length: 5 }, () => each.fetch('/me')));
  for (const response of await Promise.all(calls)) expect(await response.json()).toMatchObject({ guest: true });
  expect(gateway.count('POST /auth/guest')).toBe(1);
  expect(JSON.parse(wx.storage.get('sluice:guest') as string)).toMatchObject({
    device_id: expect.stringMatching(/^[0-9a-f]{32}$/),
  });
});

test('text and octets arrive as they were sent, and errors as the server said them', async () => {
  const mine = client();
  gateway.answer('GET /text', (_, response) => json(response, 200, { text: '你好, grüß dich 😀' }));
  gateway.answer('GET /octets', (_, response) => void response.end(Buffer.from([0, 255, 128, 1])));
  gateway.answer('GET /busy', (_, response) =>
    problem(response, 429, 'RATE_LIMIT_EXCEEDED', {}, { 'retry-after': '7' }),
  );
  expect(await (await mine.fetch('/text')).json()).toEqual({ text: '你好, grüß dich 😀' });
  expect([...new Uint8Array(await (await mine.fetch('/octets')).arrayBuffer())]).toEqual([0, 255, 128, 1]);
  const busy = await mine.fetch('/busy');
  expect([busy.ok, busy.status, busy.headers.get('RETRY-AFTER')]).toEqual([false, 429, '7']);
  gateway.answer('GET /me', (_, response) =>
    problem(response, 429, 'RATE_LIMIT_EXCEEDED', { blocked_by: 'ip', retry_after_ms: 1234 }),
  );
  await expect(mine.call('GET /me', {})).rejects.toMatchObject({ blockedBy: 'ip', retryAfterMs: 1234 });
  const allocated = await mine.fetch('/auth/login', { method: 'POST', body: '{"password":"wrong"}' });
  expect(allocated.status).toBe(401);
});

test('a stream is read as it comes, and leaving it ends it at the server', async () => {
  const mine = client();
  let closed = false;
  gateway.answer('POST /sessions/s/messages', (_, response) => {
    response.on('close', () => (closed = true));
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    const line = Buffer.from('{"text":"grüß"}\n');
    response.write(line.subarray(0, 12));
    setTimeout(() => response.write(line.subarray(12)));
  });
  const texts: (string | undefined)[] = [];
  for await (const part of mine.stream('POST /sessions/{session_id}/messages', { session_id: 's', text: 'x' })) {
    texts.push(part.text);
    break;
  }
  expect(texts).toEqual(['grüß']);
  await expect.poll(() => closed).toBe(true);
  await expect.poll(() => wx.underWay).toBe(0);
});

test('equal GETs are shared there, too', async () => {
  const mine = client({ shareGets: true });
  await mine.setSession(gateway.open());
  const responses = await Promise.all(Array.from({ length: 10 }, () => mine.fetch('/me')));
  for (const response of responses) expect(await response.json()).toMatchObject({ guest: false });
  expect(gateway.count('GET /me')).toBe(1);
});

test('no network, no answer in time, and a full storage', async () => {
  const { sluice } = launch();
  const errors: unknown[] = [];
  const mine = sluice.createClient({
    baseUrl: gateway.baseUrl,
    ...sluice.weChat({ timeoutMs: 50 }),
    onStoreError: (error) => errors.push(error),
  });
  gateway.answer('GET /never', () => undefined);
  await expect(mine.fetch('/never')).rejects.toMatchObject({ name: 'TimeoutError' });
  gateway.answer('GET /broken', (request) => void request.socket.destroy());
  await expect(mine.fetch('/broken')).rejects.toMatchObject({ name: 'TypeError', message: 'request:fail' });
  wx.full = true;
  await mine.login({ email: 'a@b.c', password: 'right' });
  expect((await mine.fetch('/me')).status).toBe(200);
  expect(errors).toHaveLength(1);
  expect(wx.underWay).toBe(0);
});

test('a signal gives up a call that runs and one that waits for its turn', async () => {
  const mine = client();
  gateway.answer('GET /never', () => undefined);
  // What a mini-program brings along itself, or a polyfill.
  const leaving = new AbortController();
  const calls = Array.from({ length: 8 }, () => mine.fetch('/never', { signal: leaving.signal }));
  await expect.poll(() => wx.underWay).toBe(6);
  leaving.abort(new Error('gone'));
  for (const call of calls) await expect(call).rejects.toMatchObject({ message: 'gone' });
  expect(wx.underWay).toBe(0);
  gateway.answer('GET /never', (_, response) => json(response, 200, {}));
  expect((await mine.fetch('/never')).status).toBe(200);
});

test('what cannot work there is said', async () => {
  const { sluice } = launch();
  const failure = (work: () => unknown) => {
    try {
      work();
    } catch (error) {
      return (error as Error).message;
    }
    return undefined;
  };
  expect(failure(() => sluice.createClient({ baseUrl: '/api/v1', ...sluice.weChat() }))).toContain(
    'expected where the API',
  );
  expect(failure(() => sluice.weChat({ requestAtOnce: 3 } as object))).toContain('did you mean requestsAtOnce?');
  expect(failure(() => sluice.weChat({ requestsAtOnce: 0 }))).toContain('from 1 to 10');
  const mine = client();
  await expect(mine.fetch('/x', { method: 'PATCH' })).rejects.toMatchObject({
    message: expect.stringContaining('PATCH'),
  });
  await expect(mine.fetch('/x', { method: 'POST', body: new FormData() })).rejects.toMatchObject({
    message: expect.stringContaining('a body in a mini-program is text'),
  });
  const cookie = client({ refreshToken: 'cookie' });
  const refused = await cookie.login({ email: 'a@b.c', password: 'right' }).catch((error: Error) => error);
  expect((refused as Error).message).toContain('keep no cookies');
});
