import type { userV1 } from '@sluice/contract';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { DataSource } from 'typeorm';
import { KnownTenants } from '../protection/known-tenants.js';
import { CanonicalAddresses1764000000008 } from '../migrations/8-canonical-addresses.js';
import { type Failure, failure, identityOf, signIn, UserSystem } from '../replicas.fixture.js';

let system: UserSystem;

beforeAll(async () => {
  system = await UserSystem.start(2);
});
afterAll(() => system?.stop());

let addresses = 0;
const newAddress = () => ({ 'client-ip': `198.51.100.${++addresses}` });
const login = (email: string, password: string, identity: object = newAddress(), replica = 0) =>
  system.replica(replica).call('UserService/Login', { email, password }, identity);
const register = (request: object) => system.first.call('UserService/Register', request);

describe('passwords', () => {
  test('that are alike in their first 72 bytes differ, and every character counts', async () => {
    const start = 'four walls, a roof, no door; and still somebody gets in while it rains'.padEnd(72, '.');
    await register({ email: 'long@example.com', password: `${start}1` });
    expect((await failure(login('long@example.com', `${start}2`))).code).toBe('INVALID_CREDENTIALS');
    await expect(login('long@example.com', `${start}1`)).resolves.toBeDefined();
    await register({ email: 'nul@example.com', password: 'before\0after' });
    expect((await failure(login('nul@example.com', 'before\0other'))).code).toBe('INVALID_CREDENTIALS');
  });

  test('are the same in NFC and NFD', async () => {
    await register({ email: 'norm@example.com', password: 'pässwörter'.normalize('NFD') });
    await expect(login('norm@example.com', 'pässwörter'.normalize('NFC'))).resolves.toBeDefined();
  });

  test.each([
    ['7 characters', 'x'.repeat(7)],
    ['257 characters', 'x'.repeat(257)],
    ['a megabyte', 'x'.repeat(1_000_000)],
  ])('of %s are refused, naming the field', async (_name, password) => {
    const refused = await failure(register({ email: 'length@example.com', password }));
    expect(refused).toMatchObject({ code: 'INVALID_ARGUMENT', details: { field: 'password' } });
  });

  test.each(['password', '12345678', 'weak@example.com'])(
    'that are guessed easily are refused: %s',
    async (password) => {
      const refused = await failure(register({ email: 'weak@example.com', password }));
      expect(refused).toMatchObject({ code: 'INVALID_ARGUMENT', details: { field: 'password' } });
      const guest = await system.first.call<userV1.TokenResponse>(
        'UserService/CreateGuest',
        { device_id: password },
        newAddress(),
      );
      const upgrade = { email: 'weak@example.com', password };
      const upgraded = system.first.call('UserService/UpgradeGuest', upgrade, identityOf(guest.access_token));
      expect((await failure(upgraded)).details).toEqual({ field: 'password' });
    },
  );

  test.each([8, 64, 256])('of %i characters are taken', async (length) => {
    const password = Array.from({ length }, (_, at) => String.fromCodePoint(0x4e00 + ((at * 7919) % 20_000))).join('');
    await expect(register({ email: `l${length}@example.com`, password })).resolves.toBeDefined();
  });
});

test('what a deadline has cut off is recorded as that, of logins and of guests', async () => {
  const { email, password } = await signIn(system.first);
  await system.within(async (query) => {
    await query('lock table throttles, guest_devices in access exclusive mode');
    const calls = [
      system.first.call('UserService/Login', { email, password }, newAddress(), 300),
      system.first.call('UserService/CreateGuest', { device_id: 'of the deadline' }, newAddress(), 300),
    ];
    for (const call of calls) await failure(call);
  });
  const outcomes = await vi.waitFor(async () => {
    const rows = await system.sql<{ outcome: string }>(
      `select outcome from audit_events where outcome like 'failed:%'
       union all select outcome from guest_attempts where outcome like 'failed:%'`,
    );
    expect(rows.length).toBeGreaterThan(0);
    return rows.map(({ outcome }) => outcome);
  });
  expect(new Set(outcomes)).toEqual(new Set(['failed:deadline_exceeded']));
});

describe('accounts', () => {
  test('are one per address without regard to case, and their hashes are argon2id', async () => {
    const { email, password } = await signIn(system.first);
    expect((await failure(register({ email: email.toUpperCase(), password }))).code).toBe('ALREADY_EXISTS');
    await expect(login(email.toUpperCase(), password)).resolves.toBeDefined();
    const [row] = await system.sql<{ password_hash: string }>('select password_hash from users where email_key = $1', [
      email,
    ]);
    expect(row?.password_hash).toMatch(/^\$argon2id\$/);
  });

  test.each(['', 'ada', 'ada@', '@example.com', 'a b@example.com', 'ada@example', `${'a'.repeat(250)}@example.com`])(
    'are not made for %j',
    async (email) => {
      const refused = await failure(register({ email, password: 'long enough' }));
      expect(refused).toMatchObject({ code: 'INVALID_ARGUMENT', details: { field: 'email' } });
    },
  );

  test('are one for addresses that look alike, and each of them logs in', async () => {
    const password = 'correct horse of mine';
    await register({ email: 'νίκος@bücher.example', password });
    for (const email of ['ΝΊΚΟΣ@xn--bcher-kva.example', 'νίκος\u200b@ｂücher．example', '\u202eνίκοσ@bücher.example']) {
      expect((await failure(register({ email, password }))).code).toBe('ALREADY_EXISTS');
      await expect(login(email, password)).resolves.toBeDefined();
    }
  });

  test('of before get the key of their address, of those alike the oldest', async () => {
    const migration = new CanonicalAddresses1764000000008();
    await register({ email: 'plain@example.com', password: 'correct horse of mine' });
    const former = (email: string) =>
      system.sql(
        `insert into users (id, tenant, email, email_key, password_hash)
         select gen_random_uuid(), 'default', $1, $1, password_hash from users where email_key = 'plain@example.com'`,
        [email],
      );
    for (const email of ['ａlike@example.com', 'alike\u200b@example.com', 'ada@bücher.example']) await former(email);
    const dataSource = await new DataSource({
      type: 'postgres',
      url: system.postgres.url,
      extra: { options: '-c search_path=identity' },
    }).initialize();
    await migration.up(dataSource.createQueryRunner());
    await dataSource.destroy();
    const keys = await system.sql<{ email: string; email_key: string }>(
      `select email, email_key from users where email like '%like%' or email like 'ada@b%' order by created_at`,
    );
    expect(keys).toEqual([
      { email: 'ａlike@example.com', email_key: 'alike@example.com' },
      { email: 'alike\u200b@example.com', email_key: 'alike\u200b@example.com' },
      { email: 'ada@bücher.example', email_key: 'ada@xn--bcher-kva.example' },
    ]);
    await expect(login('ada@BÜCHER.example', 'correct horse of mine')).resolves.toBeDefined();
  });

  test('are not made in a tenant that does not exist', async () => {
    const refused = await failure(register({ email: 'a@example.com', password: 'long enough', tenant: 'nowhere' }));
    expect(refused).toMatchObject({ code: 'INVALID_ARGUMENT', details: { field: 'tenant' } });
  });

  test('of a tenant do not exist in another one', async () => {
    await system.sql(`insert into tenants (id, name) values ('acme', 'Acme')`);
    const credentials = { email: 'shared@example.com', password: 'password of acme' };
    await register({ ...credentials, tenant: 'acme' });
    expect((await failure(system.first.call('UserService/Login', credentials))).code).toBe('INVALID_CREDENTIALS');
    await expect(system.first.call('UserService/Login', { ...credentials, tenant: 'acme' })).resolves.toBeDefined();
    // As the gateway says it, which was told by a header or host.
    await expect(system.first.call('UserService/Login', credentials, { tenant: 'acme' })).resolves.toBeDefined();
    const contradicting = system.first.call(
      'UserService/Login',
      { ...credentials, tenant: 'acme' },
      { tenant: 'other' },
    );
    expect((await failure(contradicting)).code).toBe('TENANT_MISMATCH');
    await expect(register({ ...credentials, password: 'password elsewhere' })).resolves.toBeDefined();
  });

  test('get a new hash at login when the parameters have changed', async () => {
    const { email, password } = await signIn(system.first);
    const strong = await UserSystem.join(system, { PASSWORD_MEMORY_KIB: '128' });
    await strong.call('UserService/Login', { email, password });
    const [row] = await system.sql<{ password_hash: string }>('select password_hash from users where email_key = $1', [
      email,
    ]);
    expect(row?.password_hash).toContain('m=128,');
    await strong.stop();
    await expect(login(email, password)).resolves.toBeDefined();
  });

  test('that are locked are told so only with the right password', async () => {
    const { email, password, user } = await signIn(system.first);
    await system.sql('update users set locked_at = now() where id = $1', [user.id]);
    expect((await failure(login(email, 'wrong password'))).code).toBe('INVALID_CREDENTIALS');
    expect((await failure(login(email, password))).code).toBe('PERMISSION_DENIED');
  });
});

describe('wrong passwords', () => {
  test('for a known and an unknown address get the same answers, one after another', async () => {
    const { email } = await signIn(system.first);
    const attempts = async (address: string) => {
      const from = newAddress();
      const seen: Failure[] = [];
      for (let attempt = 0; attempt < 7; attempt++) seen.push(await failure(login(address, 'wrong password', from)));
      return seen.map(({ code, message, details }) => ({ code, message, policy: details['policy'] }));
    };
    const known = await attempts(email);
    expect(known).toEqual(await attempts('nobody@example.com'));
    expect(known.map(({ code }) => code)).toEqual([
      ...Array.from({ length: 5 }, () => 'INVALID_CREDENTIALS'),
      'RATE_LIMIT_EXCEEDED',
      'RATE_LIMIT_EXCEEDED',
    ]);
  });

  test('earn a wait that doubles, on every replica, and also keeps the right password out; waiting suffices', async () => {
    const { email, password } = await signIn(system.first);
    const from = newAddress();
    for (let attempt = 0; attempt < 5; attempt++) await failure(login(email, 'wrong password', from));
    const first = await failure(login(email, password, from, 1));
    expect(first).toMatchObject({ code: 'RATE_LIMIT_EXCEEDED', details: { blocked_by: 'user' } });
    expect(first.details['retry_after_ms']).toBeLessThanOrEqual(1000);
    const wait = (seconds: number) =>
      system.sql(`update throttles set blocked_until = blocked_until - $1 * interval '1 second'`, [seconds]);
    await wait(1);
    await failure(login(email, 'wrong password', from));
    const second = await failure(login(email, password, from));
    expect(second.details['retry_after_ms']).toBeGreaterThan(1000);
    expect(second.details['retry_after_ms']).toBeLessThanOrEqual(2000);
    await wait(2);
    await expect(login(email, password, from)).resolves.toBeDefined();
    await expect(login(email, 'wrong password', from).catch(() => 'counts anew')).resolves.toBe('counts anew');
    await expect(login(email, password, from)).resolves.toBeDefined();
  });

  test('of one address do not keep the owner out elsewhere', async () => {
    const { email, password } = await signIn(system.first);
    const from = newAddress();
    for (let attempt = 0; attempt < 8; attempt++) await failure(login(email, 'wrong password', from));
    await expect(login(email, password)).resolves.toBeDefined();
  });

  test('sent a hundred at once get hardly more tries than one by one', async () => {
    const { email } = await signIn(system.first);
    const from = newAddress();
    const codes = await Promise.all(
      Array.from(
        { length: 100 },
        async (_, index) => (await failure(login(email, 'wrong password', from, index))).code,
      ),
    );
    // Five are free; each replica may have begun two more.
    expect(codes.filter((code) => code === 'INVALID_CREDENTIALS').length).toBeLessThanOrEqual(9);
  });

  test('for many accounts from one address block the address', async () => {
    const from = newAddress();
    let blocked: Failure | undefined;
    for (let attempt = 0; attempt < 60 && !blocked; attempt++) {
      const refused = await failure(login(`stuffed${attempt}@example.com`, 'wrong password', from));
      if (refused.code === 'RATE_LIMIT_EXCEEDED') blocked = refused;
    }
    expect(blocked?.details).toMatchObject({ blocked_by: 'ip', policy: 'login-failures-address' });
  });
});

test('two hundred logins at once: other calls are answered, what does not fit is told when to come back', async () => {
  const { email, password, identity } = await signIn(system.first);
  const slow = await UserSystem.join(system, {
    PASSWORD_MEMORY_KIB: '19456',
    PASSWORD_PASSES: '2',
    PASSWORD_QUEUE_MS: '1000',
  });
  const logins = Promise.all(
    Array.from({ length: 200 }, () =>
      slow.call('UserService/Login', { email, password }).then(
        () => undefined,
        (error: { failure: Failure }) => error.failure,
      ),
    ),
  );
  const storm = { over: false };
  const outcomes = logins.finally(() => (storm.over = true));
  let answered = 0;
  while (!storm.over) {
    await slow.call('UserService/GetMe', {}, identity);
    answered++;
  }
  const refused = (await outcomes).filter((outcome) => outcome !== undefined);
  expect(refused.length).toBeLessThan(200);
  expect(new Set(refused.map(({ code }) => code))).toEqual(new Set(['OVERLOADED']));
  expect(refused.every(({ details }) => (details['retry_after_ms'] as number) > 0)).toBe(true);
  expect(answered).toBeGreaterThan(10);
  await slow.stop();
});

test('a login that fails inside is in the audit log, without a subject', async () => {
  const { email, password } = await signIn(system.first);
  await system.sql(`alter table throttles rename to throttles_gone`);
  try {
    expect((await failure(system.first.call('UserService/Login', { email, password }))).code).toBe('UNAVAILABLE');
  } finally {
    await system.sql(`alter table throttles_gone rename to throttles`);
  }
  await expect
    .poll(() =>
      system.sql(`select subject from audit_events where action = 'login' and outcome = 'failed:unavailable'`),
    )
    .toEqual([{ subject: '' }]);
});

describe('after the cost of hashes was raised', () => {
  test('unknown addresses take as long as those that have not logged in since', async () => {
    const dear = await UserSystem.join(system, { PASSWORD_MEMORY_KIB: '65536', PASSWORD_PASSES: '4' });
    const known = (await signIn(system.first)).email;
    const milliseconds = async (email: string) => {
      const started = performance.now();
      const login = dear.call('UserService/Login', { email, password: 'wrong password' }, newAddress());
      expect((await failure(login)).code).toBe('INVALID_CREDENTIALS');
      return performance.now() - started;
    };
    const median = async (emails: readonly string[]) => {
      const times = [];
      for (const email of emails) times.push(await milliseconds(email));
      return times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)]!;
    };
    const strangers = Array.from({ length: 9 }, (_, index) => `nobody${index}@example.com`);
    await milliseconds(known);
    const dearHash = dear.call('UserService/Register', { email: 'dear@example.com', password: 'correct horse dear' });
    const started = performance.now();
    await dearHash;
    const dearMs = performance.now() - started;
    // Every known address but one has a cheap hash. Before, each unknown one took the dear time, which is a hundred times as long.
    expect(await median(strangers)).toBeLessThan(dearMs / 3);
    await dear.stop();
  });
});

describe('an owner whom a stranger keeps guessing at', () => {
  test('gets in from an address of an earlier login, every time; from elsewhere the account is still guarded', async () => {
    const { email, password } = await signIn(system.first);
    const home = newAddress();
    await login(email, password, home);
    const guess = () => failure(login(email, 'wrong password', newAddress(), addresses));
    for (let guesses = 0; guesses < 30; guesses++) await guess();
    for (let round = 0; round < 20; round++) {
      const [owner] = await Promise.all([login(email, password, home, round), guess(), guess()]);
      expect(owner).toBeDefined();
      for (let guesses = 0; guesses < 12; guesses++) await guess();
    }
    for (let guesses = 0; guesses < 30; guesses++) await guess();
    expect((await guess()).details).toMatchObject({ policy: 'login-failures-account' });
    expect((await failure(login(email, password, newAddress()))).code).toBe('RATE_LIMIT_EXCEEDED');
    await expect(login(email, password, home)).resolves.toBeDefined();
    for (let wrong = 0; wrong < 6; wrong++) await failure(login(email, 'wrong password', home));
    const tooMany = await failure(login(email, password, home));
    expect(tooMany.details).toMatchObject({ policy: 'login-failures-pair' });
  });
});

test('only tenants that exist have a share of the queue for passwords; all others have one together', async () => {
  const extra = { options: '-c search_path=identity' };
  const dataSource = await new DataSource({ type: 'postgres', url: system.postgres.url, extra }).initialize();
  try {
    const tenants = new KnownTenants(dataSource);
    const shares = (...names: string[]) => Promise.all(names.map((name) => tenants.shareOf({}, name)));
    expect(await shares('default', 'made-up', 'made-up-2', '?')).toEqual(['default', '?', '?', '?']);
    // One that is made later is found, since what is not there is not remembered.
    await system.sql(`insert into tenants (id, name) values ('made-up', '')`);
    expect(await shares('made-up', 'made-up-2')).toEqual(['made-up', '?']);
  } finally {
    await dataSource.destroy();
  }
});
