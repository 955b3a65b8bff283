import type { userV1 } from '@sluice/contract';
import { DataSource } from 'typeorm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type CallError, claimsOf, failure, identityOf, type Replica, UserSystem } from '../replicas.fixture.js';
import { guestReport } from './report.js';

let system: UserSystem;
let devices = 0;
const here = { 'client-ip': '192.0.2.1' };

beforeAll(async () => {
  system = await UserSystem.start(2, { GUEST_ADDRESS_PER_MINUTE: '1000', GUEST_ADDRESS_HOURLY: '300' });
});
afterAll(() => system?.stop());

const newDevice = () => `device-${++devices}`;
const ask = (device_id: string, replica = 0, identity: object = here, cause = 'no_token') =>
  system.replica(replica).call<userV1.TokenResponse>('UserService/CreateGuest', { device_id, cause }, identity);
/** Lets everything that a device got look older. */
const age = async (seconds: number) => {
  await system.sql(`update guest_attempts set at = at - $1 * interval '1 second'`, [seconds]);
  await system.sql(
    `update guest_devices set token_until = token_until - $1 * interval '1 second',
       blocked_until = blocked_until - $1 * interval '1 second' where blocked_until <> '-infinity' or true`,
    [seconds],
  );
};
const signOut = (tokens: userV1.TokenResponse) =>
  system.first.call('UserService/Logout', {}, identityOf(tokens.access_token));

describe('one device', () => {
  test('that asks a hundred times at once, over two replicas, gets one token', async () => {
    const device = newDevice();
    const answers = await Promise.all(Array.from({ length: 100 }, (_, index) => ask(device, index)));
    expect(new Set(answers.map((answer) => answer.access_token)).size).toBe(1);
    expect(new Set(answers.map((answer) => answer.refresh_token)).size).toBe(1);
    expect(answers[0]?.guest).toBe(true);
    const rows = await system.sql<{ outcome: string; n: number }>(
      `select outcome, count(*)::int as n from guest_attempts group by outcome order by outcome`,
    );
    expect(rows).toEqual([
      { outcome: 'issued', n: 1 },
      { outcome: 'returned', n: 99 },
    ]);
  });

  test('gets the token that is alive again, but only where it was issued', async () => {
    const device = newDevice();
    const first = await ask(device);
    expect((await ask(device, 1)).access_token).toBe(first.access_token);
    const elsewhere = await failure(ask(device, 0, { 'client-ip': '192.0.2.2' }));
    expect(elsewhere).toMatchObject({ code: 'RATE_LIMIT_EXCEEDED', details: { policy: 'guest-spacing' } });
  });

  test('waits 60 seconds for its next token, and as long as it was told suffices', async () => {
    const device = newDevice();
    await signOut(await ask(device));
    const refused = await failure(ask(device));
    expect(refused).toMatchObject({
      code: 'RATE_LIMIT_EXCEEDED',
      details: { blocked_by: 'user', policy: 'guest-spacing', limit: 1, window_seconds: 60 },
    });
    const waitMs = refused.details['retry_after_ms'] as number;
    expect(waitMs).toBeGreaterThan(50_000);
    expect(waitMs).toBeLessThanOrEqual(60_000);
    await age(waitMs / 1000);
    await expect(ask(device)).resolves.toBeDefined();
  });

  test('backs off twice as long with each refusal, and from the beginning after a token', async () => {
    const device = newDevice();
    await signOut(await ask(device));
    const waits = [];
    for (let attempt = 0; attempt < 6; attempt++) waits.push((await failure(ask(device))).details['retry_after_ms']);
    expect(waits.slice(3)).toEqual([120_000, 240_000, 480_000]);
    expect((await failure(ask(device))).details['policy']).toBe('guest-backoff');
    await age(3600);
    await signOut(await ask(device));
    expect((await failure(ask(device))).details['retry_after_ms']).toBeLessThanOrEqual(60_000);
  });

  test.each([
    ['hour', 10, 300],
    ['day', 50, 1500],
  ])('gets no more than its share of the %s', async (window, share, spacing) => {
    const device = newDevice();
    for (let issued = 0; issued < share; issued++) {
      await signOut(await ask(device));
      await age(spacing);
    }
    expect((await failure(ask(device))).details).toMatchObject({ policy: `guest-${window}`, limit: share });
  });

  const allowance = (device_id: string, replica = 0, identity: object = here) =>
    system.replica(replica).call<userV1.GuestAllowance>('UserService/GetGuestLimits', { device_id }, identity);
  const spent = (device_id: string, spent_session_id = '', replica = 0) =>
    system
      .replica(replica)
      .call<userV1.TokenResponse>(
        'UserService/CreateGuest',
        { device_id, cause: 'quota_used_up', spent_session_id },
        here,
      );

  test('whose quota is used up gets another guest, within its limits', async () => {
    const device = newDevice();
    const first = await ask(device);
    const early = await failure(spent(device));
    expect(early).toMatchObject({ code: 'RATE_LIMIT_EXCEEDED', details: { policy: 'guest-spacing' } });
    // Being refused another one, it still has the one that it had.
    expect((await ask(device)).session_id).toBe(first.session_id);
    await age((early.details['retry_after_ms'] as number) / 1000);
    const second = await spent(device);
    expect(second.session_id).not.toBe(first.session_id);
    expect(claimsOf(second.access_token).sub).not.toBe(claimsOf(first.access_token).sub);
    expect((await ask(device)).access_token).toBe(second.access_token);
  });

  test('whose quota is used up asks a hundred times at once, over two replicas: one other token', async () => {
    const device = newDevice();
    const first = await ask(device);
    await age(61);
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, index) => spent(device, first.session_id, index)),
    );
    expect(new Set(answers.map(({ session_id: id }) => id)).size).toBe(1);
    expect(answers[0]?.session_id).not.toBe(first.session_id);
  });

  test('names a spent session rightly or is told', async () => {
    const named = (cause: string, spent_session_id: string) =>
      failure(system.first.call('UserService/CreateGuest', { device_id: 'd', cause, spent_session_id }, here));
    for (const [cause, session] of [
      ['expired', '3f2b8f0e-3b53-4e8e-9d0a-3a3d3a3d3a3d'],
      ['quota_used_up', 'not an id'],
    ] as const) {
      expect((await named(cause, session)).details).toEqual({ field: 'spent_session_id' });
    }
  });

  test('can ask what it may ask for, which spends nothing and is what a request then meets', async () => {
    const device = newDevice();
    expect(await allowance(device)).toMatchObject({ allowed: true, live_token: false, policy: '', refusals: 0 });
    const first = await ask(device);
    expect(first.guest_terms).toMatchObject({ spacing_seconds: 60, hourly: 10, backoff: true, backoff_multiplier: 2 });
    for (let times = 0; times < 20; times++) await allowance(device, times);
    expect(await allowance(device, 1)).toMatchObject({
      allowed: false,
      live_token: true,
      policy: 'guest-spacing',
      blocked_by: 'user',
      refusals: 0,
    });
    // What is returned to an address alone is told to that address alone.
    expect((await allowance(device, 0, { 'client-ip': '192.0.2.99' })).live_token).toBe(false);
    await signOut(first);
    const signedOut = await allowance(device);
    expect(signedOut).toMatchObject({ allowed: false, live_token: false });
    expect((await failure(ask(device))).details).toMatchObject({ policy: signedOut.policy });
    const { retry_after_ms: waitMs, refusals } = await allowance(device);
    expect(refusals).toBe(1);
    await age(waitMs / 1000);
    expect(await allowance(device)).toMatchObject({ allowed: true });
    await ask(device);
    const rows = await system.sql<{ n: number }>(
      `select count(*)::int as n from guest_attempts where device = (select device from guest_attempts order by id desc limit 1)`,
    );
    expect(rows).toEqual([{ n: 3 }]);
  });

  test('is told of the limits of its address, too', async () => {
    const told = await allowance(newDevice());
    expect(told.limits.map(({ policy }) => policy)).toEqual([
      'guest-spacing',
      'guest-hour',
      'guest-day',
      'guest-address-minute',
      'guest-address-hour',
    ]);
    expect(await failure(allowance('', 0, {}))).toMatchObject({ details: { field: 'device_id' } });
    const closed = system.first.call('UserService/GetGuestLimits', { device_id: 'd', tenant: 'nowhere' }, here);
    expect((await failure(closed)).details).toEqual({ field: 'tenant' });
  });

  test('without back-off waits no longer than its limits say, however often it asks', async () => {
    const replica = await UserSystem.join(system, { GUEST_BACKOFF: 'false' });
    try {
      const device = newDevice();
      const from = { 'client-ip': '192.0.2.44' };
      const once = () => replica.call<userV1.TokenResponse>('UserService/CreateGuest', { device_id: device }, from);
      await signOut(await once());
      for (let attempt = 0; attempt < 8; attempt++) {
        expect((await failure(once())).details['retry_after_ms']).toBeLessThanOrEqual(60_000);
      }
      await age(60);
      await expect(once()).resolves.toBeDefined();
    } finally {
      await replica.stop();
    }
  });

  test('without a name is its address: hopping inside an IPv6 /64 gains nothing', async () => {
    const first = await ask('', 0, { 'client-ip': '2001:db8:1:1::1' });
    const hopped = await ask('', 1, { 'client-ip': '2001:db8:1:1:ffff::2' });
    expect(hopped.access_token).toBe(first.access_token);
    const neighbour = await ask('', 1, { 'client-ip': '2001:db8:1:2::1' });
    expect(neighbour.access_token).not.toBe(first.access_token);
  });
});

test('many devices of one address share its limit, exactly', async () => {
  const address = { 'client-ip': '198.51.100.7' };
  const outcomes = await Promise.all(
    Array.from({ length: 330 }, (_, index) =>
      ask(newDevice(), index, address).then(
        () => 'issued',
        (error: Error) => error.message.split(':')[0],
      ),
    ),
  );
  expect(outcomes.filter((outcome) => outcome === 'issued')).toHaveLength(300);
  expect(outcomes.filter((outcome) => outcome === 'RATE_LIMIT_EXCEEDED')).toHaveLength(30);
});

describe('ten a minute of one address', () => {
  let replicas: Replica[];
  let addresses = 0;
  /** Replicas of their own, since one that knows an address to be full does not ask the database, whose rows are aged here. */
  const join = () => UserSystem.join(system, { GUEST_ADDRESS_PER_MINUTE: '10' });
  beforeEach(async () => {
    replicas = [await join(), await join()];
  });
  afterEach(() => Promise.all(replicas.map((replica) => replica.stop())));

  const newAddress = () => ({ 'client-ip': `203.0.113.${++addresses}` });
  const create = (identity: object, device_id = newDevice(), replica = replicas[0]!) =>
    replica.call<userV1.TokenResponse>('UserService/CreateGuest', { device_id }, identity);
  const grant = (identity: object, device_id = newDevice(), replica = replicas[0]!) =>
    replica.call<userV1.TokenResponse>('OAuthService/Token', { grant_type: 'guest', device_id }, identity);
  const fill = async (identity: object) => {
    const tokens = [];
    for (let issued = 0; issued < 10; issued++)
      tokens.push(await create(identity, `of ${JSON.stringify(identity)} ${issued}`));
    return tokens;
  };

  test('exactly, at once, over two replicas and by either method', async () => {
    const address = newAddress();
    const ways = [create, grant];
    const outcomes = await Promise.all(
      Array.from({ length: 60 }, (_, index) =>
        ways[index % 2]!(address, newDevice(), replicas[(index >> 1) % 2]).then(
          () => 'issued',
          ({ failure: { details } }: CallError) => `${String(details['blocked_by'])} ${String(details['policy'])}`,
        ),
      ),
    );
    expect(outcomes.filter((outcome) => outcome === 'issued')).toHaveLength(10);
    expect(outcomes.filter((outcome) => outcome === 'ip guest-address-minute')).toHaveLength(50);
    const network = address['client-ip'];
    const rows = await system.sql(
      `select outcome, count(*)::int as n from guest_attempts where address = $1 group by outcome order by outcome`,
      [network],
    );
    // Each attempt is on record, also those that were refused from memory.
    expect(rows).toEqual([
      { outcome: 'issued', n: 10 },
      { outcome: 'refused:address-minute', n: 50 },
    ]);
  });

  test('says the limit and the wait, and the wait suffices', async () => {
    const address = newAddress();
    await fill(address);
    const first = await failure(grant(address));
    const again = await failure(grant(address));
    for (const { code, message, details } of [first, again]) {
      expect(code).toBe('RATE_LIMIT_EXCEEDED');
      expect(details).toMatchObject({ policy: 'guest-address-minute', limit: 10, window_seconds: 60 });
      expect(message).toMatch(/^This address has had its 10 new guest tokens of 60 s\. Try again in \d+ s\.$/);
    }
    const waitMs = first.details['retry_after_ms'] as number;
    expect(waitMs).toBeGreaterThan(30_000);
    expect(again.details['retry_after_ms']).toBeLessThanOrEqual(waitMs);
    await age(waitMs / 1000);
    await expect(create(address, newDevice(), await joined())).resolves.toBeDefined();
  });

  test('leaves live tokens, other addresses and the back-off of devices alone', async () => {
    const address = newAddress();
    const tokens = await fill(address);
    const device = newDevice();
    await failure(create(address, device));
    await failure(create(address, device));
    const [first] = tokens as [userV1.TokenResponse];
    const back = await grant(address, `of ${JSON.stringify(address)} 0`);
    expect(back.access_token).toBe(first.access_token);
    await expect(create(newAddress(), device)).resolves.toBeDefined();
  });

  async function joined(): Promise<Replica> {
    const replica = await join();
    replicas.push(replica);
    return replica;
  }
});

test('input is refused by field', async () => {
  expect((await failure(ask('x'.repeat(201)))).details).toEqual({ field: 'device_id' });
  expect((await failure(ask(newDevice(), 0, here, 'Not a cause!'))).details).toEqual({ field: 'cause' });
});

describe('upgrade', () => {
  const upgrade = (tokens: userV1.TokenResponse, email: string, password = 'correct horse battery', replica = 0) =>
    system
      .replica(replica)
      .call<userV1.TokenResponse>('UserService/UpgradeGuest', { email, password }, identityOf(tokens.access_token));

  test('twenty at once make one user with the same id, and the guest’s session ends', async () => {
    const guest = await ask(newDevice());
    const sub = claimsOf(guest.access_token).sub;
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) => upgrade(guest, 'upgraded@example.com', undefined, index)),
    );
    for (const answer of answers) expect(claimsOf(answer.access_token)).toMatchObject({ sub });
    expect(answers.every((answer) => answer.guest)).toBe(false);
    const users = await system.sql(`select id, guest from users where email_key = 'upgraded@example.com'`);
    expect(users).toEqual([{ id: sub, guest: false }]);
    const old = system.first.call('UserService/Refresh', { refresh_token: guest.refresh_token });
    expect((await failure(old)).code).toBe('INVALID_GRANT');
  });

  test('refuses a taken address, another password, and whoever is no guest', async () => {
    const guest = await ask(newDevice());
    expect((await failure(upgrade(guest, 'Upgraded@Example.com'))).code).toBe('ALREADY_EXISTS');
    const user = await upgrade(guest, 'second@example.com');
    expect((await failure(upgrade(guest, 'second@example.com', 'another password'))).code).toBe('INVALID_CREDENTIALS');
    expect((await failure(upgrade(guest, 'third@example.com'))).code).toBe('ALREADY_EXISTS');
    expect((await failure(upgrade(user, 'third@example.com'))).code).toBe('FAILED_PRECONDITION');
  });

  test('refuses a guest who has signed out', async () => {
    const guest = await ask(newDevice());
    await signOut(guest);
    expect((await failure(upgrade(guest, 'fourth@example.com'))).code).toBe('SESSION_REVOKED');
  });
});

test('the report sums up attempts by cause with shares, by burst over all causes, and by hour', async () => {
  await system.sql('delete from guest_attempts');
  // Half past an hour, so that what is minutes away is in the same one.
  const [{ base }] = (await system.sql<{ base: Date }>(
    `select date_trunc('hour', clock_timestamp(), 'UTC') - interval '30 minutes' as base`,
  )) as [{ base: Date }];
  const insert = (cause: string, secondsAgo: number, outcome: string, device: string) =>
    system.sql(
      `insert into guest_attempts (at, tenant, device, address, cause, outcome)
       values ($1::timestamptz - $2 * interval '1 second', 'default', $3, '', $4, $5)`,
      [base, secondsAgo, device, cause, outcome],
    );
  for (const [seconds, outcome] of [
    [600, 'issued'],
    [590, 'refused:spacing'],
    [550, 'returned'],
    [100, 'issued'],
  ] as const) {
    await insert('manual_test', seconds, outcome, 'a');
  }
  await insert('api_failure', 595, 'issued', 'b');
  await insert('api_failure', 3700, 'failed:unavailable', 'b');
  for (let index = 0; index < 60; index++) await insert(`made-up-${index}`, 20_000, 'returned', 'c');
  const dataSource = await new DataSource({
    type: 'postgres',
    url: system.postgres.url,
    schema: 'identity',
  }).initialize();
  await dataSource.query('set search_path = identity');
  const report = await guestReport(dataSource, 24, 60);
  await dataSource.destroy();
  expect(report.total).toEqual({ attempts: 66, issued: 3, returned: 61, refused: 1, failed: 1, devices: 3 });
  expect(report.by_cause.find(({ cause }) => cause === 'manual_test')).toEqual({
    cause: 'manual_test',
    share: 4 / 66,
    attempts: 4,
    issued: 2,
    returned: 1,
    refused: 1,
    failed: 0,
    devices: 1,
  });
  expect(report.by_cause.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1);
  // 50 by name, and the others together first: they are the most.
  expect(report.by_cause).toHaveLength(51);
  expect(report.by_cause[0]).toMatchObject({ cause: '(others)', attempts: 12 });
  expect(report.bursts.slice(0, 3)).toMatchObject([
    { attempts: 1, causes: { manual_test: 1 } },
    { attempts: 4, issued: 2, returned: 1, refused: 1, devices: 2, causes: { manual_test: 3, api_failure: 1 } },
    { attempts: 1, failed: 1 },
  ]);
  expect(report.bursts[1]!.last.getTime() - report.bursts[1]!.first.getTime()).toBe(50_000);
  expect(report.by_hour.map(({ attempts }) => attempts)).toEqual([5, 1, 60]);
  await system.sql('delete from guest_attempts');
});

describe('an attempt that fails inside', () => {
  const renamed = async (table: string, work: () => Promise<void>) => {
    await system.sql(`alter table ${table} rename to ${table}_gone`);
    try {
      await work();
    } finally {
      await system.sql(`alter table ${table}_gone rename to ${table}`);
    }
  };
  const failed = () =>
    system.sql<{ cause: string; outcome: string; age: number }>(
      `select cause, outcome, extract(epoch from clock_timestamp() - at)::float8 as age from guest_attempts
       where outcome like 'failed:%' order by at`,
    );

  test('is recorded with its cause', async () => {
    const device = newDevice();
    await renamed('guest_devices', async () => {
      expect((await failure(ask(device, 0, here, 'expired'))).code).toBe('UNAVAILABLE');
    });
    await expect.poll(failed).toMatchObject([{ cause: 'expired', outcome: 'failed:unavailable' }]);
    // It counts against nobody.
    expect((await ask(device)).guest).toBe(true);
  });

  test('is recorded afterwards, as of then, when nothing can be recorded at the time', async () => {
    await renamed('guest_attempts', async () => {
      expect((await failure(ask(newDevice(), 0, here, 'quota'))).code).toBe('UNAVAILABLE');
      await new Promise((resolve) => setTimeout(resolve, 500));
    });
    await expect
      .poll(failed, { timeout: 10_000 })
      .toMatchObject([{}, { cause: 'quota', outcome: 'failed:unavailable' }]);
    expect((await failed())[1]!.age).toBeGreaterThan(0.5);
  });
});
