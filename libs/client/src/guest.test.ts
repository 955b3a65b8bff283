import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { json, problem, startGateway, type TestGateway } from './gateway.fixture.js';
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

describe('limits by option, and by what the server says', () => {
  const terms = (over: object = {}) => ({
    spacing_seconds: 60,
    hourly: 10,
    daily: 50,
    backoff: true,
    backoff_seconds: 15,
    backoff_multiplier: 2,
    ...over,
  });
  const tell = (over: object) =>
    gateway.answer('POST /auth/guest', (_, response) =>
      json(response, 200, { ...gateway.open({ guest: true }), guest_terms: terms(over) }),
    );
  /** How many tokens a device gets within a time when it asks as soon as it may. */
  async function issuedWithin(ms: number, guest: ClientOptions['guest']): Promise<number> {
    const store = memoryStore();
    const client = guestClient({ store, guest });
    const end = Date.now() + ms;
    for (let issued = 0; ;) {
      const permission = await client.guest.canAcquire();
      if (!permission.allowed) later(permission.retryAfterMs as number);
      if (Date.now() >= end) return issued;
      if (!permission.allowed) continue;
      await client.guest.acquire();
      issued++;
      await forget(store);
    }
  }

  test.each([
    ['5 an hour, 300 s apart', { perHour: 5, intervalMs: 300_000 }, undefined, HOUR, 5],
    ['12 a day', { perDay: 12 }, undefined, 20 * HOUR, 12],
    ['no interval, 40 an hour', { perHour: 40, intervalMs: 0 }, undefined, HOUR, 40],
    ['what the server says, when nothing else does', {}, { hourly: 30, spacing_seconds: 0 }, HOUR, 30],
    ['the stricter of both: the server', { perHour: 40, intervalMs: 0 }, { hourly: 4 }, HOUR, 4],
    ['the stricter of both: the option', { perHour: 3 }, { hourly: 30, spacing_seconds: 0 }, HOUR, 3],
  ])('%s', async (_, guest, said, ms, count) => {
    if (said) tell(said);
    expect(await issuedWithin(ms, guest)).toBe(count);
  });

  const waitsOf = async (guest: ClientOptions['guest'], store = memoryStore()) => {
    const client = guestClient({ store, guest });
    gateway.answer('POST /auth/guest', (_, response) => problem(response, 503, 'UNAVAILABLE'));
    const waits: number[] = [];
    for (let failures = 0; failures < 4; failures++) {
      await expect(client.guest.acquire()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      const permission = await client.guest.canAcquire();
      const wait = permission.allowed ? 0 : (permission.retryAfterMs as number);
      waits.push(wait);
      later(wait);
    }
    return waits;
  };

  test('the back-off multiplies as it was told, or is off', async () => {
    expect(await waitsOf({ backOffMs: 1_000, backOffMultiplier: 3 })).toEqual([1_000, 3_000, 9_000, 27_000]);
    expect(await waitsOf({ backOff: false })).toEqual([0, 0, 0, 0]);
    const store = memoryStore();
    tell({ backoff_multiplier: 4 });
    await guestClient({ store }).guest.acquire();
    await forget(store);
    later(HOUR);
    expect(await waitsOf(true, store)).toEqual([5_000, 20_000, 80_000, 320_000]);
  });

  test('failures without a back-off do not push out what was issued', async () => {
    const store = memoryStore();
    const client = guestClient({ store, guest: { backOff: false, perHour: 1 } });
    await client.guest.acquire();
    await forget(store);
    later(2 * MINUTE);
    const kept = JSON.parse((await store.get('guest')) as string) as { records: object[] };
    const failures = Array.from({ length: 300 }, () => ({ at: Date.now(), cause: 'no_token', outcome: 'failed' }));
    await store.set('guest', JSON.stringify({ ...kept, records: [...kept.records, ...failures] }));
    expect(await client.guest.canAcquire()).toMatchObject({ reason: 'hour' });
    later(HOUR);
    gateway.answer('POST /auth/guest', (_, response) => problem(response, 503, 'UNAVAILABLE'));
    await expect(client.guest.acquire()).rejects.toMatchObject({ status: 503 });
    const records = await client.guest.records();
    expect(records.filter(({ outcome }) => outcome === 'issued')).toHaveLength(1);
    expect(records).toHaveLength(101);
  });

  test('the server’s limits can be asked for without spending anything, and hold from then on', async () => {
    const store = memoryStore();
    const client = guestClient({ store });
    const asked: { device_id: string }[] = [];
    gateway.answer('POST /auth/guest/limits', (_, response, body) => {
      asked.push(JSON.parse(body) as { device_id: string });
      json(response, 200, { allowed: true, limits: [], terms: terms({ hourly: 1 }) });
    });
    expect(await client.guest.limits()).toMatchObject({ allowed: true });
    expect(gateway.count('POST /auth/guest')).toBe(0);
    const session = await client.guest.acquire();
    expect(session).toBeDefined();
    await forget(store);
    later(2 * MINUTE);
    expect(await client.guest.canAcquire()).toMatchObject({ reason: 'hour' });
    await client.guest.limits();
    // One name for the device, whatever asks first.
    expect(new Set(asked.map(({ device_id: id }) => id)).size).toBe(1);
  });

  test.each([
    [{ guest: { perHuor: 5 } }, 'guest has no option perHuor: did you mean perHour?'],
    [{ guest: { max_requests_per_hour: 5 } }, 'guest has no option max_requests_per_hour: did you mean perHour?'],
    [{ guets: true }, 'createClient has no option guets: did you mean guest?'],
    [{ deviceId: 'x' }, 'createClient has no option deviceId: expected some of'],
    [{ guest: { perHour: 0 } }, 'guest.perHour 0: expected a whole number from 1 to 1000'],
    [{ guest: { intervalMs: -1 } }, 'guest.intervalMs -1: expected'],
    [{ guest: { intervalMs: '60s' } }, 'guest.intervalMs 60s: expected'],
    [{ guest: { backOffMultiplier: 0.5 } }, 'guest.backOffMultiplier 0.5: expected a number from 1 to 10'],
    [{ guest: { backOff: 'no' } }, 'guest.backOff: expected true or false'],
    [{ guest: { backOff: false, backOffMs: 10 } }, 'have no effect beside backOff: false'],
    [{ guest: { deviceId: '' } }, 'guest.deviceId: expected 1 to 200 characters'],
  ])('%j is refused', (options, message) => {
    expect(() => guestClient(options as Partial<ClientOptions>)).toThrow(message);
  });

  test('causes are one’s own, of a form that the server takes', async () => {
    const client = guestClient();
    for (const cause of ['', 'Manual test', 'x'.repeat(65)]) {
      await expect(client.guest.acquire({ cause })).rejects.toThrow('expected 1 to 64 of a–z');
    }
    await expect(client.guest.acquire({ couse: 'restart' } as object)).rejects.toThrow('did you mean cause?');
    expect(gateway.count('POST /auth/guest')).toBe(0);
    await client.guest.acquire({ cause: 'service_restart' });
    expect(await client.guest.records()).toMatchObject([{ cause: 'service_restart' }]);
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

  test.each([
    ['RATE_LIMIT_EXCEEDED', 'ip', false],
    // A limit of rates passes, whoever it counts.
    ['RATE_LIMIT_EXCEEDED', 'user', false],
    ['RATE_LIMIT_EXCEEDED', 'tenant', false],
    ['RESOURCE_EXHAUSTED', undefined, false],
    ['BUDGET_EXHAUSTED', 'caller_requests', false],
    ['BUDGET_EXHAUSTED', 'budget', true],
    ['BUDGET_EXHAUSTED', 'caller_tokens', true],
    ['BUDGET_EXHAUSTED', undefined, true],
  ])('%s by %s: another token may be asked for: %s', async (code, blockedBy, spent) => {
    const client = guestClient();
    await client.fetch('/me');
    later(2 * MINUTE);
    gateway.answer('GET /me', (_, response) => problem(response, 429, code, { blocked_by: blockedBy }));
    const refused = await client.fetch('/me');
    expect(await refused.json()).toMatchObject({ code });
    if (!spent) {
      expect(await client.guest.canAcquire()).toMatchObject({ reason: 'live_token' });
      return;
    }
    expect(await client.guest.canAcquire()).toEqual({ allowed: true });
    const before = await client.session();
    const asked: unknown[] = [];
    gateway.answer('POST /auth/guest', (_, response, body) => {
      asked.push(JSON.parse(body));
      json(response, 200, gateway.open({ guest: true }));
    });
    // Whatever the cause: for another one the server would return the token that is no use.
    await client.guest.acquire({ cause: 'manual_test' });
    expect(asked).toEqual([
      { device_id: expect.any(String), cause: 'quota_used_up', spent_session_id: before?.session_id },
    ]);
    expect(await client.guest.canAcquire()).toMatchObject({ reason: 'live_token' });
  });

  test('when a stream says only after its first message that the budget is spent', async () => {
    const client = guestClient();
    gateway.answer('POST /sessions/s/messages', (_, response) => {
      response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      const error = { code: 'BUDGET_EXHAUSTED', status: 429, details: { blocked_by: 'budget' } };
      response.end(`{"text":"hi"}\n${JSON.stringify({ error })}\n`);
    });
    const parts = client.stream('POST /sessions/{session_id}/messages', { session_id: 's', text: 'x' });
    expect(await parts.next()).toMatchObject({ value: { text: 'hi' } });
    await expect(parts.next()).rejects.toMatchObject({ code: 'BUDGET_EXHAUSTED' });
    later(2 * MINUTE);
    expect(await client.guest.canAcquire()).toEqual({ allowed: true });
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
