import type { userV1 } from '@sluice/contract';
import { createVerifier, type TokenVerifier } from '@sluice/identity';
import { DataSource } from 'typeorm';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { POLL_MS } from './keys.js';
import { claimsOf, signIn, startReplicaOn, UserSystem, type SessionTokens } from '../replicas.fixture.js';
import { changeMasterKey, endAllSessions, endSessions, type Rotation, rotateKeys, withdrawKey } from './rotation.js';

let system: UserSystem;
let dataSource: DataSource;

beforeAll(async () => {
  system = await UserSystem.start(2);
  dataSource = new DataSource({
    type: 'postgres',
    url: system.postgres.url,
    extra: { options: '-c search_path=identity' },
  });
  await dataSource.initialize();
});
afterAll(async () => {
  await dataSource?.destroy();
  await system?.stop();
});

const masterKey = () => Buffer.from(system.environment['MASTER_KEY'] as string, 'base64');
const rotate = (options: { publishSeconds?: number; dueAfterSeconds?: number } = {}): Promise<Rotation> =>
  rotateKeys(dataSource, {
    masterKey: masterKey(),
    publishSeconds: 0,
    tokenSeconds: 900,
    auditTenant: 'default',
    dueAfterSeconds: 0,
    ...options,
  });
const published = async (replica = 0) =>
  (await system.replica(replica).call<userV1.KeySet>('KeyService/GetKeySet', {})).keys;
const kidOf = (token: string) =>
  (JSON.parse(Buffer.from(token.split('.')[0] as string, 'base64url').toString()) as { kid: string }).kid;
const refresh = (refresh_token: string, replica: number) =>
  system.replica(replica).call<SessionTokens>('UserService/Refresh', { refresh_token });

/** A gateway's verifier, which knows no more than the key set. */
const gateway = (): TokenVerifier =>
  createVerifier({
    issuer: 'http://localhost:8083',
    audience: 'sluice',
    typ: 'at+jwt',
    keys: async () => ({ keys: (await published(1)).map((key) => ({ ...key })) }),
  });

test('a token is verified by the published keys before and after rotations, without another fetch for the next key', async () => {
  const verifier = gateway();
  const { tokens, user } = await signIn(system.first);
  await expect(verifier.verify(tokens.access_token)).resolves.toMatchObject({ subject: user.id, tenant: 'default' });
  const before = await published();
  expect(await rotate()).toMatchObject({ kind: 'rotated', previous: kidOf(tokens.access_token) });

  let latest = tokens;
  await vi.waitFor(
    async () => {
      latest = await refresh(latest.refresh_token, 0);
      expect(kidOf(latest.access_token)).not.toBe(kidOf(tokens.access_token));
    },
    { timeout: 10_000 },
  );
  await expect(verifier.verify(latest.access_token)).resolves.toMatchObject({ subject: user.id });
  expect(verifier.stats().keyFetches).toBe(1);
  await expect(gateway().verify(tokens.access_token)).resolves.toMatchObject({ subject: user.id });
  expect(before.map(({ kid }) => kid)).toContain(kidOf(latest.access_token));
  await vi.waitFor(async () => expect(await published()).toHaveLength(3), { timeout: 5000 });
});

test('a rotation waits until the next key has been published for long enough, and until it is due', async () => {
  expect(await rotate({ publishSeconds: 3600 })).toEqual({ kind: 'too-early', waitSeconds: expect.any(Number) });
  expect(await rotate({ dueAfterSeconds: 3600 })).toEqual({ kind: 'not-due' });
});

test('of many rotations at once that are due, one happens', async () => {
  await system.sql(`update signing_keys set activated_at = activated_at - interval '2 hours' where state = 'current'`);
  const rotations = await Promise.all(Array.from({ length: 8 }, () => rotate({ dueAfterSeconds: 3600 })));
  expect(rotations.filter(({ kind }) => kind === 'rotated')).toHaveLength(1);
  const states = await system.sql<{ state: string }>(`select state from signing_keys where state <> 'previous'`);
  expect(states.map(({ state }) => state).toSorted()).toEqual(['current', 'next']);
});

test('a key is published until the longest token has expired, whatever the settings were when it was signed', async () => {
  const raised = await UserSystem.join(system, { ACCESS_TOKEN_SECONDS: '86400' });
  const { tokens } = await signIn(raised);
  await raised.stop();
  expect(await rotate()).toMatchObject({ kind: 'rotated', previous: kidOf(tokens.access_token) });
  const [key] = await system.sql<{ covered: boolean }>(
    `select verify_until > now() + interval '1 day' as covered from signing_keys where kid = $1`,
    [kidOf(tokens.access_token)],
  );
  expect(key?.covered).toBe(true);
});

test('a key whose tokens have expired is published no more', async () => {
  const [gone] = await system.sql<{ kid: string }>(
    `update signing_keys set verify_until = now() where state = 'previous' returning kid`,
  );
  await vi.waitFor(async () => expect((await published()).map(({ kid }) => kid)).not.toContain(gone?.kid), {
    timeout: 5000,
  });
});

test('no private key and no refresh secret stands in the database in clear', async () => {
  const [row] = await system.sql<{ private_sealed: Buffer }>('select private_sealed from signing_keys limit 1');
  expect(row?.private_sealed.includes(Buffer.from('2a8648ce3d0201', 'hex'))).toBe(false);
});

test('a service with another master key does not start', async () => {
  const other = { ...system.environment, MASTER_KEY: Buffer.alloc(32, 1).toString('base64') };
  await expect(startReplicaOn(other)).rejects.toThrow('MASTER_KEY=(secret)');
});

test('the master key can be changed, and the service starts with the new one', async () => {
  const to = Buffer.alloc(32, 7);
  await changeMasterKey(dataSource, masterKey(), to);
  const renewed = await startReplicaOn({ ...system.environment, MASTER_KEY: to.toString('base64') });
  await expect(signIn(renewed)).resolves.toBeDefined();
  await renewed.stop();
  await expect(startReplicaOn(system.environment)).rejects.toThrow('MASTER_KEY=(secret)');
  await changeMasterKey(dataSource, to, masterKey());
});

test('with another master key nothing is changed: what two keys have sealed nobody could read', async () => {
  const sealed = () =>
    system.sql(`select kid as name, private_sealed as sealed from signing_keys
                union all select name, sealed from sealed_secrets order by name`);
  const before = await sealed();
  const other = Buffer.alloc(32, 1);
  const options = { publishSeconds: 0, tokenSeconds: 1, auditTenant: 'default', dueAfterSeconds: 0 };
  await expect(rotateKeys(dataSource, { ...options, masterKey: other })).rejects.toThrow('MASTER_KEY=(secret)');
  await expect(endAllSessions(dataSource, other, 'default')).rejects.toThrow('MASTER_KEY=(secret)');
  await expect(changeMasterKey(dataSource, other, Buffer.alloc(32, 2))).rejects.toThrow('MASTER_KEY=(secret)');
  expect(await sealed()).toEqual(before);
});

test('the schedule rotates a key that is due by itself, once over all replicas, and they sign with the new one', async () => {
  const quick = { PRUNE_SECONDS: '1', KEY_PUBLISH_SECONDS: '1', KEY_ROTATION_DAYS: '30' };
  const replicas = [await UserSystem.join(system, quick), await UserSystem.join(system, quick)];
  try {
    const verifier = gateway();
    const { tokens, email, password } = await signIn(replicas[0]!);
    const rotated = () => system.sql(`select 1 from audit_events where action = 'keys.rotate' and outcome = 'rotated'`);
    const before = (await rotated()).length;
    await system.sql(
      `update signing_keys set activated_at = activated_at - interval '31 days' where state = 'current'`,
    );
    for (const replica of replicas) {
      await vi.waitFor(
        async () => {
          const { access_token } = await replica.call<SessionTokens>('UserService/Login', { email, password });
          expect(kidOf(access_token)).not.toBe(kidOf(tokens.access_token));
          await expect(verifier.verify(access_token)).resolves.toBeDefined();
        },
        { timeout: 15_000, interval: 200 },
      );
    }
    await expect(verifier.verify(tokens.access_token)).resolves.toBeDefined();
    // Every replica has had a turn since.
    await new Promise((resolve) => setTimeout(resolve, 2500));
    expect(await rotated()).toHaveLength(before + 1);
  } finally {
    await Promise.all(replicas.map((replica) => replica.stop()));
  }
});

test('a withdrawn key is published no more, and the current one cannot be withdrawn', async () => {
  const { tokens } = await signIn(system.first);
  const kid = kidOf(tokens.access_token);
  expect(await withdrawKey(dataSource, 'default', kid)).toBe(false);
  await rotate();
  expect(await withdrawKey(dataSource, 'default', kid)).toBe(true);
  await expect(gateway().verify(tokens.access_token)).rejects.toMatchObject({ code: 'TOKEN_INVALID' });
});

test('after the end of all sessions no refresh token works on any replica', async () => {
  const { tokens } = await signIn(system.first);
  const { tokens: idle } = await signIn(system.first);
  await system.sql(`update sessions set idle_until = now() - interval '1 s' where id = $1`, [idle.session_id]);
  expect(await endAllSessions(dataSource, masterKey(), 'default')).toBeGreaterThan(0);
  // An access token of a session that was idle for too long may live on.
  expect(await system.sql(`select 1 from sessions where revoked_at is null and tokens_until > now()`)).toEqual([]);
  for (const replica of [0, 1]) {
    await expect(refresh(tokens.refresh_token, replica)).rejects.toThrow('INVALID_GRANT');
  }
  // Replicas notice the new secret a moment later; the second time ends those who logged in meanwhile.
  await new Promise((resolve) => setTimeout(resolve, 2 * POLL_MS));
  await endSessions(dataSource.manager);
  for (const replica of [0, 1]) {
    const { tokens: fresh } = await signIn(system.replica(replica));
    await expect(refresh(fresh.refresh_token, 1 - replica)).resolves.toBeDefined();
  }
});

test('a guest whose token lost its key gets another one of the same session at once', async () => {
  const ask = (replica = 0) =>
    system
      .replica(replica)
      .call<SessionTokens>('UserService/CreateGuest', { device_id: 'of the key' }, { 'client-ip': '198.51.100.7' });
  const before = await ask();
  const kid = kidOf(before.access_token);
  expect((await ask()).access_token).toBe(before.access_token);
  await rotate();
  expect(await withdrawKey(dataSource, 'default', kid)).toBe(true);
  await vi.waitFor(async () => expect((await published()).map((key) => key.kid)).not.toContain(kid), 3 * POLL_MS);
  const after = await ask();
  expect(kidOf(after.access_token)).not.toBe(kid);
  expect(claimsOf(after.access_token)).toMatchObject({
    sub: claimsOf(before.access_token).sub,
    sid: before.session_id,
  });
  await expect(gateway().verify(after.access_token)).resolves.toMatchObject({ guest: true });
  expect((await ask()).access_token).toBe(after.access_token);
});
