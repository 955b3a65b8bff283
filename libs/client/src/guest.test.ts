import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { problem, startGateway, type TestGateway } from './gateway.fixture.js';
import { createClient, memoryStore, type ClientOptions, type GuestAlert, type Store } from './index.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

let gateway: TestGateway;
beforeEach(async () => {
  gateway = await startGateway();
  // Time stands still but for what a test adds; sockets and their timers go on.
  vi.useFakeTimers({ toFake: ['Date'], now: Date.UTC(2026, 0, 1) });
});
afterEach(async () => {
  vi.useRealTimers();
  await gateway.close();
});

const later = (ms: number) => vi.setSystemTime(Date.now() + ms);
const guestClient = (options: Partial<ClientOptions> = {}) =>
  createClient({ baseUrl: gateway.baseUrl, guest: true, ...options });
/** The session is gone, as after its end; what was recorded is not. */
const forget = (store: Store) => store.delete('session');

test('100 calls at once without a token: one guest token', async () => {
  const client = guestClient();
  const responses = await Promise.all(Array.from({ length: 100 }, () => client.fetch('/me')));
  expect(responses.every(({ status }) => status === 200)).toBe(true);
  expect(gateway.count('POST /auth/guest')).toBe(1);
  expect(await client.guest.records()).toMatchObject([{ cause: 'no_token', outcome: 'issued', status: 200 }]);
});

test('nothing is asked for while a token lives, and nothing while a user is signed in', async () => {
  const client = guestClient();
  const session = await client.guest.acquire();
  expect(await client.guest.acquire()).toEqual(session);
  expect(await client.guest.canAcquire()).toMatchObject({
    allowed: false,
    reason: 'live_token',
    retryAfterMs: 900_000,
  });
  await client.login({ email: 'a@b.c', password: 'right' });
  expect(await client.guest.canAcquire()).toEqual({ allowed: false, reason: 'signed_in' });
  expect(gateway.count('POST /auth/guest')).toBe(1);
});

describe('limits', () => {
  test('60 s apart, 10 an hour, 50 a day; canAcquire says how long, and waiting so long is enough', async () => {
    const store = memoryStore();
    const client = guestClient({ store });
    let issued = 0;
    const reasons = new Set<string>();
    while (issued < 60) {
      const permission = await client.guest.canAcquire();
      if (permission.allowed) {
        await client.guest.acquire();
        issued++;
        await forget(store);
        continue;
      }
      reasons.add(permission.reason);
      await expect(client.guest.acquire()).rejects.toMatchObject({
        code: 'GUEST_NOT_ALLOWED',
        details: { reason: permission.reason },
        retryAfterMs: permission.retryAfterMs,
      });
      later((permission.retryAfterMs as number) - 1);
      expect(await client.guest.canAcquire()).toMatchObject({ allowed: false });
      later(1);
    }
    expect([...reasons]).toEqual(['interval', 'hour', 'day']);
    // 50 in the first five hours, ten more as the first day's leave it.
    expect(Date.now() - Date.UTC(2026, 0, 1)).toBeGreaterThanOrEqual(24 * HOUR + 9 * MINUTE);
  });

  test('failures back off twice as long each, and a success ends that', async () => {
    const store = memoryStore();
    const client = guestClient({ store });
    gateway.answer('POST /auth/guest', (_, response) => problem(response, 503, 'UNAVAILABLE'));
    const waits: number[] = [];
    for (let i = 0; i < 4; i++) {
      await expect(client.guest.acquire()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      const permission = await client.guest.canAcquire();
      if (permission.allowed) throw new Error('expected a back-off');
      expect(permission.reason).toBe('back_off');
      waits.push(permission.retryAfterMs as number);
      later(permission.retryAfterMs as number);
    }
    expect(waits).toEqual([5_000, 10_000, 20_000, 40_000]);
    gateway.answer('POST /auth/guest', undefined);
    await client.guest.acquire();
    await forget(store);
    expect(await client.guest.canAcquire()).toMatchObject({ reason: 'interval', retryAfterMs: MINUTE });
  });

  test.each([HOUR, 365 * 24 * HOUR])(
    'a clock that was ahead by %s ms locks nobody out once it is right',
    async (ahead) => {
      const store = memoryStore();
      const right = Date.now();
      vi.setSystemTime(right + ahead);
      const client = guestClient({ store });
      await client.fetch('/me');
      gateway.answer('POST /auth/guest', (_, response) => problem(response, 503, 'OVERLOADED'));
      await forget(store);
      later(MINUTE);
      await expect(client.fetch('/me')).rejects.toMatchObject({ status: 503 });
      gateway.answer('POST /auth/guest', undefined);
      vi.setSystemTime(right);
      expect(await client.guest.canAcquire()).toEqual({ allowed: true });
      expect((await client.fetch('/me')).status).toBe(200);
      await forget(store);
      expect(await client.guest.canAcquire()).toMatchObject({
        allowed: false,
        reason: 'interval',
        retryAfterMs: MINUTE,
      });
    },
  );

  test('an answer that is no session counts as a failure', async () => {
    const client = guestClient();
    gateway.answer(
      'POST /auth/guest',
      (_, response) => void response.writeHead(200).end('<h1>Sign in to the hotel</h1>'),
    );
    await expect(client.guest.acquire()).rejects.toThrow(SyntaxError);
    expect(await client.guest.records()).toMatchObject([{ outcome: 'failed' }]);
    expect(await client.guest.canAcquire()).toMatchObject({ allowed: false, reason: 'back_off' });
  });

  test('a wait that the server told counts, also after a restart', async () => {
    const store = memoryStore();
    gateway.answer('POST /auth/guest', (_, response) =>
      problem(response, 429, 'RATE_LIMIT_EXCEEDED', { blocked_by: 'user', retry_after_ms: 3_000_000 }),
    );
    await expect(guestClient({ store }).fetch('/me')).rejects.toMatchObject({ status: 429, retryAfterMs: 3_000_000 });
    const restarted = guestClient({ store });
    expect(await restarted.guest.canAcquire()).toMatchObject({ reason: 'back_off', retryAfterMs: 3_000_000 });
    await expect(restarted.fetch('/me')).rejects.toMatchObject({ code: 'GUEST_NOT_ALLOWED' });
    expect(gateway.count('POST /auth/guest')).toBe(1);
  });
});

describe('another token', () => {
  test('when the session has ended: asked for once, with its cause', async () => {
    const client = guestClient();
    await client.fetch('/me');
    later(2 * MINUTE);
    gateway.expireAll();
    gateway.revokeAll();
    const responses = await Promise.all(Array.from({ length: 20 }, () => client.fetch('/me')));
    expect(responses.every(({ status }) => status === 200)).toBe(true);
    expect(gateway.count('POST /auth/guest')).toBe(2);
    expect(await client.guest.records()).toMatchObject([{ cause: 'no_token' }, { cause: 'expired' }]);
  });

  test('when the guest’s own quota is used up, and not for a limit of the address', async () => {
    const client = guestClient();
    await client.fetch('/me');
    later(2 * MINUTE);
    const blockedBy = (value: string) =>
      gateway.answer('GET /me', (_, response) => problem(response, 429, 'RATE_LIMIT_EXCEEDED', { blocked_by: value }));
    blockedBy('ip');
    expect((await client.fetch('/me')).status).toBe(429);
    expect(await client.guest.canAcquire()).toMatchObject({ reason: 'live_token' });
    blockedBy('user');
    const refused = await client.fetch('/me');
    expect(await refused.json()).toMatchObject({ details: { blocked_by: 'user' } });
    expect(await client.guest.canAcquire()).toEqual({ allowed: true });
    await client.guest.acquire({ cause: 'quota_used_up' });
    expect(gateway.count('POST /auth/guest')).toBe(2);
    expect(await client.guest.canAcquire()).toMatchObject({ reason: 'live_token' });
  });

  test('none for a refresh that only failed', async () => {
    const client = guestClient();
    await client.fetch('/me');
    gateway.expireAll();
    gateway.answer('POST /auth/refresh', (_, response) => void response.socket?.destroy());
    await expect(client.fetch('/me')).rejects.toMatchObject({ code: 'REFRESH_FAILED' });
    expect(gateway.count('POST /auth/guest')).toBe(1);
  });
});

test('upgrade: the guest becomes a user with the same id', async () => {
  const client = guestClient();
  const guest = await client.guest.acquire();
  const upgraded = await client.guest.upgrade({ email: 'a@b.c', password: 'right' });
  expect(upgraded.guest).toBeUndefined();
  expect(await client.call('GET /me', {})).toMatchObject({ id: guest.session_id, guest: false });
});

test('each request is told to whoever watches', async () => {
  const alerts: GuestAlert[] = [];
  const store = memoryStore();
  const client = guestClient({ store, guest: { deviceId: 'device-1' }, onAcquire: (alert) => alerts.push(alert) });
  await client.guest.acquire();
  await forget(store);
  later(2 * MINUTE);
  gateway.answer('POST /auth/guest', (_, response) => problem(response, 503, 'OVERLOADED'));
  await expect(client.guest.acquire({ cause: 'expired' })).rejects.toThrow('about OVERLOADED');
  expect(alerts).toMatchObject([
    { deviceId: 'device-1', inLastHour: 1, inLastDay: 1, failuresInARow: 0, record: { outcome: 'issued' } },
    { inLastHour: 2, inLastDay: 2, failuresInARow: 1, record: { outcome: 'refused', cause: 'expired', status: 503 } },
  ]);
});
