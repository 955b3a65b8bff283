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

/** Never runs the task. */
const abandoned = (signal: AbortSignal | undefined) =>
  new Promise<never>((_, reject) => {
    signal?.addEventListener('abort', () => reject(signal.reason as Error));
  });

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

  test('that is refused as soon as it was refreshed costs one refresh, not one a call', async () => {
    const client = await signedIn();
    gateway.answer('GET /never', (_, response) => problem(response, 401, 'TOKEN_INVALID'));
    for (let call = 0; call < 5; call++) expect((await client.fetch('/never')).status).toBe(401);
    expect(gateway.count('POST /auth/refresh')).toBe(1);
    expect((await client.fetch('/me')).status).toBe(200);
    gateway.expireAll();
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 60_000 });
    expect((await client.fetch('/me')).status).toBe(200);
    expect(gateway.count('POST /auth/refresh')).toBe(2);
  });

  test.each<[string, (response: Parameters<typeof problem>[0]) => void, number]>([
    ['a service’s own refusal', (response) => problem(response, 401, 'UNAUTHENTICATED'), 0],
    ['a wrong password', (response) => problem(response, 401, 'INVALID_CREDENTIALS'), 0],
    ['a proxy’s page', (response) => void response.writeHead(401, { 'content-type': 'text/html' }).end('<p>'), 0],
    ['Basic', (response) => void response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end(), 0],
    [
      'the challenge of RFC 6750',
      (response) =>
        void response.writeHead(401, { 'www-authenticate': 'Bearer realm="x", error="invalid_token"' }).end(),
      1,
    ],
    ['TOKEN_EXPIRED', (response) => problem(response, 401, 'TOKEN_EXPIRED'), 1],
    ['SESSION_REVOKED', (response) => problem(response, 401, 'SESSION_REVOKED'), 1],
  ])('%s: refreshed or not by what the 401 is about', async (_, answer, refreshes) => {
    const client = await signedIn();
    gateway.answer('GET /never', (__, response) => answer(response));
    expect((await client.fetch('/never')).status).toBe(401);
    expect(gateway.count('POST /auth/refresh')).toBe(refreshes);
    expect(gateway.count('GET /never')).toBe(1 + refreshes);
  });

  test('a 401 that says nothing means the token once that has expired', async () => {
    const client = await signedIn();
    await client.setSession({ ...gateway.open(), expires_at: Date.now() - 1 });
    gateway.answer('GET /never', (_, response) => void response.writeHead(401).end());
    await client.fetch('/never');
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

  const page = (status: number) => (response: Parameters<typeof problem>[0]) =>
    void response.writeHead(status, { 'content-type': 'text/html' }).end('<h1>Blocked</h1>');
  test.each([
    [400, page(400)],
    [401, page(401)],
    [403, page(403)],
    [200, page(200)],
    [401, (response: Parameters<typeof problem>[0]) => problem(response, 401, 'UNAUTHENTICATED')],
    [403, (response: Parameters<typeof problem>[0]) => problem(response, 403, 'ORIGIN_REFUSED')],
    [400, (response: Parameters<typeof problem>[0]) => problem(response, 400, 'INVALID_ARGUMENT')],
    [200, (response: Parameters<typeof problem>[0]) => json(response, 200, { portal: true })],
  ])('that somebody else answers with %s, or the server for another reason, is no sign-out', async (_, answer) => {
    const onSignedOut = vi.fn<(error: SluiceError) => void>();
    const client = await signedIn({ onSignedOut });
    gateway.expireAll();
    gateway.answer('POST /auth/refresh', (__, response) => answer(response));
    await expect(client.fetch('/me')).rejects.toMatchObject({ code: 'REFRESH_FAILED' });
    expect(onSignedOut).not.toHaveBeenCalled();
    expect((await client.session())?.refresh_token).toMatch(/^refresh-/);
  });

  test.each(['INVALID_GRANT', 'SESSION_REVOKED'])('that the server refuses as %s signs out', async (code) => {
    const client = await signedIn();
    gateway.expireAll();
    gateway.answer('POST /auth/refresh', (_, response) => problem(response, 401, code));
    expect((await client.fetch('/me')).status).toBe(401);
    expect(await client.session()).toBeUndefined();
  });

  test('whose session cannot be stored goes on in memory, and is stored once that works again', async () => {
    const inner = memoryStore();
    let full = false;
    const onStoreError = vi.fn<(error: unknown) => void>();
    const refuse = () => {
      if (full) throw new Error('QuotaExceededError');
    };
    const store = {
      ...inner,
      set: (key: string, value: string) => (refuse(), inner.set(key, value)),
      delete: (key: string) => (refuse(), inner.delete(key)),
    };
    const client = await signedIn({ store, onStoreError });
    full = true;
    for (const refreshes of [1, 2]) {
      gateway.expireAll();
      expect(statuses(await times(3, () => client.fetch('/me')))).toEqual([200, 200, 200]);
      expect(gateway.count('POST /auth/refresh')).toBe(refreshes);
    }
    expect(onStoreError).toHaveBeenCalledTimes(2);
    full = false;
    gateway.expireAll();
    expect((await client.fetch('/me')).status).toBe(200);
    expect(JSON.parse((await inner.get('session')) ?? '')).toEqual(await client.session());

    full = true;
    await client.logout();
    expect(await client.session()).toBeUndefined();
    // What somebody else stores counts.
    inner.set('session', JSON.stringify({ access_token: 'theirs' }));
    expect(await client.session()).toEqual({ access_token: 'theirs' });
  });

  test('is not waited for without end when somebody keeps the lock', async () => {
    const client = await signedIn({ lock: { run: (_, __, signal) => abandoned(signal) }, lockTimeoutMs: 20 }).catch(
      (error: unknown) => error,
    );
    expect(client).toMatchObject({ code: 'LOCK_TIMEOUT' });
  });

  test('by somebody who was taken for dead undoes nothing', async () => {
    // A lock that was taken away: both have it.
    const store = memoryStore();
    const open = { run: <T>(_: string, task: () => Promise<T>) => task() };
    const frozen = await signedIn({ store, lock: open });
    gateway.expireAll();
    let release = () => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    gateway.answer('POST /auth/refresh', async (_, response) => {
      await held;
      json(response, 200, gateway.open());
    });
    const call = frozen.fetch('/me');
    await vi.waitFor(() => expect(gateway.count('POST /auth/refresh')).toBe(1));
    const other = createClient({ baseUrl: gateway.baseUrl, store, lock: open });
    const session = await other.login({ email: 'a@b.c', password: 'right' });
    release();
    expect((await call).status).toBe(200);
    expect((await frozen.session())?.access_token).toBe(session.access_token);
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

describe('the refresh token in a cookie', () => {
  const EXPIRES = { token_type: 'Bearer', expires_in: 900, session_id: 's' };
  /** A server with one browser, which has the cookie or not. */
  function browser() {
    const state = { cookie: false, serial: 0, live: '', asked: [] as string[] };
    const send = async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
      const path = new URL(String(input as URL)).pathname.replace('/api/v1', '');
      const sent = init.credentials === 'include';
      state.asked.push(`${path} ${String(init.body)} ${sent}`);
      const open = () => Response.json({ access_token: (state.live = `access-${++state.serial}`), ...EXPIRES });
      if (path === '/auth/login') return ((state.cookie = sent && /"cookie":true/.test(String(init.body))), open());
      if (path === '/auth/refresh') {
        return state.cookie && sent ? open() : Response.json({ code: 'INVALID_GRANT', status: 401 }, { status: 401 });
      }
      if (new Headers(init.headers).get('authorization') !== `Bearer ${state.live}`) {
        return Response.json({ code: 'TOKEN_EXPIRED', status: 401 }, { status: 401 });
      }
      if (path === '/auth/logout') state.cookie = !sent && state.cookie;
      return Response.json({});
    };
    const onSignedOut = vi.fn<(error: SluiceError) => void>();
    const open = () =>
      createClient({ baseUrl: 'https://api.example/api/v1', refreshToken: 'cookie', fetch: send, onSignedOut });
    return { state, open, onSignedOut };
  }

  test('signs in, refreshes, survives a reload of the page, and signs out', async () => {
    const { state, open, onSignedOut } = browser();
    const client = open();
    const session = await client.login({ email: 'a@b.c', password: 'right' });
    expect(session).not.toHaveProperty('refresh_token');
    state.live = '';
    expect(statuses(await times(5, () => client.fetch('/me')))).toEqual(Array(5).fill(200));
    expect(state.asked.filter((line) => line.startsWith('/auth/refresh'))).toEqual(['/auth/refresh {} true']);

    const reloaded = open();
    expect(statuses(await times(3, () => reloaded.fetch('/me')))).toEqual([200, 200, 200]);
    expect(state.asked.filter((line) => line.startsWith('/auth/refresh'))).toHaveLength(2);
    const closing = open();
    expect(await closing.session()).toMatchObject({ access_token: state.live });
    // A page that has just been loaded signs out, too.
    await open().logout();
    expect(state.cookie).toBe(false);

    const later = open();
    expect(statuses(await times(3, () => later.fetch('/me')))).toEqual([401, 401, 401]);
    expect(statuses([await later.fetch('/me')])).toEqual([401]);
    expect(state.asked.filter((line) => line.startsWith('/auth/refresh'))).toHaveLength(5);
    expect(onSignedOut).not.toHaveBeenCalled();
  });

  test('that the server refuses signs out', async () => {
    const { state, open, onSignedOut } = browser();
    const client = open();
    await client.login({ email: 'a@b.c', password: 'right' });
    Object.assign(state, { live: '', cookie: false });
    expect((await client.fetch('/me')).status).toBe(401);
    expect(onSignedOut).toHaveBeenCalledOnce();
    expect(await client.session()).toBeUndefined();
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
    // By the server's clock, when that is known.
    const headers = { 'retry-after': 'Fri, 01 Jan 2027 00:00:30 GMT', date: 'Fri, 01 Jan 2027 00:00:10 GMT' };
    expect(retryAfterMs(new Response('', { headers }))).toBe(20_000);
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
