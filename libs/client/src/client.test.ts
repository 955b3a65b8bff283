import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { json, problem, startGateway, type TestGateway } from './gateway.fixture.js';
import {
  createClient,
  memoryStore,
  retryAfterMs,
  SluiceError,
  type ClientOptions,
  type SluiceClient,
} from './index.js';

let gateway: TestGateway;
beforeEach(async () => {
  gateway = await startGateway();
});
afterEach(async () => {
  vi.useRealTimers();
  await gateway.close();
});

async function signedIn(options: Partial<ClientOptions> = {}): Promise<SluiceClient> {
  const client = createClient({ baseUrl: gateway.baseUrl, ...options });
  await client.setSession(gateway.open());
  return client;
}

const statuses = (responses: readonly Response[]) => responses.map(({ status }) => status);
const times = <T>(count: number, make: () => Promise<T>) => Promise.all(Array.from({ length: count }, make));

describe('an expired token', () => {
  test('is refreshed once for all concurrent calls, and each is sent once more', async () => {
    const client = await signedIn();
    gateway.expireAll();
    expect(statuses(await times(50, () => client.fetch('/me')))).toEqual(Array(50).fill(200));
    expect(gateway.count('POST /auth/refresh')).toBe(1);
    expect(gateway.count('GET /me')).toBe(100);
  });

  test('met a moment later with the old token: no second refresh', async () => {
    const client = await signedIn();
    gateway.expireAll();
    // This call's 401 comes when the others have long been refreshed.
    let release = () => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    gateway.answer('GET /late', async (request, response) => {
      if (request.headers.authorization === 'Bearer access-2') await held;
      problem(response, 401, 'TOKEN_EXPIRED');
    });
    const late = client.fetch('/late');
    await vi.waitFor(() => expect(gateway.count('GET /late')).toBe(1));
    await client.fetch('/me');
    release();
    expect((await late).status).toBe(401);
    expect(gateway.count('GET /late')).toBe(2);
    expect(gateway.count('POST /auth/refresh')).toBe(1);
  });

  test('a second 401 ends it', async () => {
    const client = await signedIn();
    gateway.answer('GET /never', (_, response) => problem(response, 401, 'TOKEN_INVALID'));
    expect((await client.fetch('/never')).status).toBe(401);
    expect(gateway.count('GET /never')).toBe(2);
    expect(gateway.count('POST /auth/refresh')).toBe(1);
  });

  test('a body is sent again whole; a stream cannot be, so its 401 is handed on with fresh tokens in place', async () => {
    const client = await signedIn();
    gateway.expireAll();
    const body = JSON.stringify({ request_id: 'r', token_count: 5 });
    const init = { method: 'POST', headers: { 'content-type': 'application/json' } };
    expect(await (await client.fetch('/alloc', { ...init, body })).json()).toMatchObject({ request_id: 'r' });
    gateway.expireAll();
    const stream = new Blob([body]).stream();
    const streamed = await client.fetch('/alloc', { ...init, body: stream, duplex: 'half' } as RequestInit);
    expect(streamed.status).toBe(401);
    expect((await client.fetch('/me')).status).toBe(200);
    expect(gateway.count('POST /auth/refresh')).toBe(2);
  });

  test('without a refresh token the 401 stands and nothing is asked', async () => {
    const client = createClient({ baseUrl: gateway.baseUrl });
    await client.setSession({ access_token: 'stale' });
    expect(statuses(await times(5, () => client.fetch('/me')))).toEqual(Array(5).fill(401));
    expect(gateway.count('POST /auth/refresh')).toBe(0);
  });
});

describe('a refresh', () => {
  test('that is refused signs out, once, without a loop', async () => {
    const onSignedOut = vi.fn<(error: SluiceError) => void>();
    const client = await signedIn({ onSignedOut });
    gateway.expireAll();
    gateway.revokeAll();
    expect(statuses(await times(20, () => client.fetch('/me')))).toEqual(Array(20).fill(401));
    expect(gateway.count('POST /auth/refresh')).toBe(1);
    expect(onSignedOut).toHaveBeenCalledOnce();
    expect(onSignedOut.mock.calls[0]?.[0]).toMatchObject({ code: 'INVALID_GRANT' });
    expect(await client.session()).toBeUndefined();
    expect((await client.fetch('/me')).status).toBe(401);
    expect(gateway.count('POST /auth/refresh')).toBe(1);
  });

  test.each([
    [
      '503',
      (response: Parameters<typeof problem>[0]) => problem(response, 503, 'OVERLOADED', {}, { 'retry-after': '7' }),
    ],
    ['429', (response: Parameters<typeof problem>[0]) => problem(response, 429, 'RATE_LIMIT_EXCEEDED')],
    ['a broken connection', (response: Parameters<typeof problem>[0]) => void response.socket?.destroy()],
  ])('that fails by %s is no sign-out, and no storm', async (_, fail) => {
    const onSignedOut = vi.fn<(error: SluiceError) => void>();
    const client = await signedIn({ onSignedOut });
    gateway.expireAll();
    gateway.answer('POST /auth/refresh', (__, response) => fail(response));
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => client.fetch('/me')));
    for (const result of results) expect(result).toMatchObject({ reason: { code: 'REFRESH_FAILED' } });
    // Those who come a moment later get the same failure.
    await expect(client.fetch('/me')).rejects.toMatchObject({ code: 'REFRESH_FAILED' });
    expect(gateway.count('POST /auth/refresh')).toBe(1);
    expect(onSignedOut).not.toHaveBeenCalled();
    gateway.answer('POST /auth/refresh', undefined);
    await vi.waitFor(async () => expect((await client.fetch('/me')).status).toBe(200), {
      timeout: 5_000,
      interval: 100,
    });
  });

  test('tells how long to wait when the server did', async () => {
    const client = await signedIn();
    gateway.expireAll();
    gateway.answer('POST /auth/refresh', (_, response) =>
      problem(response, 503, 'OVERLOADED', {}, { 'retry-after': '7' }),
    );
    await expect(client.fetch('/me')).rejects.toMatchObject({ status: 503, retryAfterMs: 7_000, traceId: 'trace-1' });
  });

  test('that is never answered ends by itself', async () => {
    const client = await signedIn({ tokenTimeoutMs: 50 });
    gateway.expireAll();
    gateway.answer('POST /auth/refresh', () => undefined);
    await expect(client.fetch('/me')).rejects.toMatchObject({ code: 'REFRESH_FAILED' });
  });

  test('goes on for the others when one caller leaves', async () => {
    const client = await signedIn();
    gateway.expireAll();
    let release = () => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    gateway.answer('POST /auth/refresh', async (_, response) => {
      await held;
      json(response, 200, gateway.open());
    });
    const leaving = new AbortController();
    const abandoned = client.fetch('/me', { signal: leaving.signal });
    const staying = client.fetch('/me');
    await vi.waitFor(() => expect(gateway.count('POST /auth/refresh')).toBe(1));
    leaving.abort(new Error('gone'));
    await expect(abandoned).rejects.toThrow('gone');
    release();
    expect((await staying).status).toBe(200);
  });

  test('does not bring a session back that was logged out meanwhile, nor replace a newer one', async () => {
    const client = await signedIn();
    gateway.expireAll();
    let release = () => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    gateway.answer('POST /auth/refresh', async (_, response) => {
      await held;
      json(response, 200, gateway.open());
    });
    const call = client.fetch('/me');
    await vi.waitFor(() => expect(gateway.count('POST /auth/refresh')).toBe(1));
    const login = client.login({ email: 'a@b.c', password: 'right' });
    release();
    const session = await login;
    await call;
    expect((await client.session())?.access_token).toBe(session.access_token);
  });
});

describe('a 429', () => {
  test('is handed on and never retried; its wait can be read', async () => {
    const client = await signedIn();
    const details = { blocked_by: 'ip', policy: 'default-ip', limit: 100, window_seconds: 60, retry_after_ms: 1200 };
    gateway.answer('GET /me', (_, response) =>
      problem(response, 429, 'RATE_LIMIT_EXCEEDED', details, { 'retry-after': '2' }),
    );
    const response = await client.fetch('/me');
    expect([response.status, retryAfterMs(response)]).toEqual([429, 2_000]);
    const error = await client.call('GET /me', {}).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(SluiceError);
    expect(error).toMatchObject({
      code: 'RATE_LIMIT_EXCEEDED',
      status: 429,
      retryAfterMs: 1_200,
      blockedBy: 'ip',
      traceId: 'trace-1',
    });
    expect(gateway.count('GET /me')).toBe(2);
  });

  test('a date says how long to wait, too', () => {
    vi.useFakeTimers({ now: Date.UTC(2026, 0, 1) });
    const response = new Response('', { headers: { 'retry-after': 'Thu, 01 Jan 2026 00:00:30 GMT' } });
    expect(retryAfterMs(response)).toBe(30_000);
  });
});

describe('calls', () => {
  test('sign in, ask, sign out', async () => {
    const client = createClient({ baseUrl: `${gateway.baseUrl}/` });
    await expect(client.login({ email: 'a@b.c', password: 'wrong' })).rejects.toMatchObject({
      code: 'INVALID_CREDENTIALS',
    });
    expect(await client.register({ email: 'a@b.c', password: 'right' })).toMatchObject({ email: 'a@b.c' });
    const session = await client.login({ email: 'a@b.c', password: 'right' });
    expect(session.expires_at).toBeGreaterThan(Date.now());
    expect(await client.call('GET /me', {})).toMatchObject({ id: session.session_id });
    expect(await client.call('POST /alloc', { request_id: 'r1', token_count: 7 })).toMatchObject({
      state: 'ALLOCATED',
    });
    await client.logout();
    expect(await client.session()).toBeUndefined();
    await client.logout();
    expect(gateway.count('POST /auth/logout')).toBe(1);
  });

  test('sign out also when the server cannot be reached', async () => {
    const client = await signedIn();
    gateway.answer('POST /auth/logout', (_, response) => void response.socket?.destroy());
    await expect(client.logout()).rejects.toThrow('fetch failed');
    expect(await client.session()).toBeUndefined();
  });

  test('fill the path, the query and the body of a route', async () => {
    const seen: string[] = [];
    const client = createClient({
      baseUrl: 'https://sluice.example/api/v1',
      fetch: async (input, init) => {
        seen.push(`${init?.method} ${String(input)} ${String(init?.body)}`);
        return Response.json({});
      },
    });
    await client.call('POST /allocations/{request_id}/settle', { request_id: 'a/b ?', token_count: 5 });
    await client.call('GET /allocations/{request_id}', { request_id: 'x' });
    expect(seen).toEqual([
      'POST https://sluice.example/api/v1/allocations/a%2Fb%20%3F/settle {"token_count":5}',
      'GET https://sluice.example/api/v1/allocations/x undefined',
    ]);
    for (const request_id of ['', '.', '..', undefined]) {
      await expect(client.call('GET /allocations/{request_id}', { request_id })).rejects.toThrow(TypeError);
    }
  });

  test.each(['https://elsewhere.example/me', 'http://127.0.0.1:1/api/v1/me'])(
    'never take the token to %s',
    async (url) => {
      const client = await signedIn();
      await expect(client.fetch(url)).rejects.toThrow(TypeError);
    },
  );

  test('a path that looks like a host stays a path', async () => {
    const client = await signedIn();
    expect((await client.fetch('//elsewhere.example/me')).status).toBe(404);
    expect((await client.fetch('me:undo')).status).toBe(404);
  });

  test('an Authorization of the caller’s own is left alone', async () => {
    const client = await signedIn();
    expect((await client.fetch('/me', { headers: { authorization: 'Bearer other' } })).status).toBe(401);
    expect(gateway.count('POST /auth/refresh')).toBe(0);
  });

  test('an answer that is not Sluice’s is an error that says so', async () => {
    const client = await signedIn();
    gateway.answer(
      'GET /me',
      (_, response) => void response.writeHead(502, { 'content-type': 'text/html' }).end('<h1>'),
    );
    await expect(client.call('GET /me', {})).rejects.toMatchObject({ code: 'UNEXPECTED_ANSWER', status: 502 });
  });

  test('what a store cannot read is no session', async () => {
    const store = memoryStore();
    await store.set('session', '{half');
    expect(await createClient({ baseUrl: gateway.baseUrl, store }).session()).toBeUndefined();
  });
});
