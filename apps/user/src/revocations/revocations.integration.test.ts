import type { userV1 } from '@sluice/contract';
import { createVerifier, RevocationList } from '@sluice/identity';
import { setTimeout } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { failure, type Replica, signIn, UserSystem, type SessionTokens } from '../replicas.fixture.js';

let system: UserSystem;
const gateway = { subject: 'gateway', roles: 'gateway' };

beforeAll(async () => {
  system = await UserSystem.start(2);
});
afterAll(() => system?.stop());

/** What a gateway does with the stream. */
function follow(replica: Replica, list = new RevocationList()) {
  const stream = replica.watch('RevocationService/WatchRevocations', { cursor: list.cursor }, gateway);
  stream.on('data', ({ revocations, cursor }: userV1.RevocationBatch) => {
    const entries = revocations.map(({ session_id, until_ms }) => ({
      sessionId: session_id,
      untilMs: Number(until_ms),
    }));
    list.apply(entries, cursor);
  });
  stream.on('error', () => undefined);
  return { list, stop: () => stream.cancel() };
}

const current = (list: RevocationList) => vi.waitFor(() => expect(list.ageMs()).toBeLessThan(2000), { timeout: 5000 });
const revoked = (list: RevocationList, sessionId: string) =>
  vi.waitFor(() => expect(list.isRevoked(sessionId, Date.now())).toBe(true), { timeout: 5000, interval: 5 });

test('each logout at one replica reaches the watchers of another', async () => {
  const { list, stop } = follow(system.replica(1));
  await current(list);
  for (let round = 0; round < 30; round++) {
    const { tokens, identity } = await signIn(system.first);
    await system.first.call('UserService/Logout', {}, identity);
    await revoked(list, tokens.session_id);
  }
  stop();
});

test('a verifier with the list refuses the token of a stolen session', async () => {
  const { list, stop } = follow(system.replica(0));
  const verifier = createVerifier({
    issuer: 'http://localhost:8083',
    audience: 'sluice',
    revocations: list,
    keys: async () => ({
      keys: (await system.first.call<userV1.KeySet>('KeyService/GetKeySet', {})).keys.map((key) => ({ ...key })),
    }),
  });
  const { tokens } = await signIn(system.first);
  const refresh = (refresh_token: string) => system.first.call<SessionTokens>('UserService/Refresh', { refresh_token });
  const second = await refresh(tokens.refresh_token);
  const third = await refresh(second.refresh_token);
  await expect(verifier.verify(third.access_token)).resolves.toBeDefined();
  await failure(refresh(tokens.refresh_token));
  await revoked(list, tokens.session_id);
  expect(() => verifier.verify(third.access_token)).toThrow(expect.objectContaining({ code: 'SESSION_REVOKED' }));
  stop();
});

test('who was away catches up: from its cursor, or with everything that still matters', async () => {
  const { list, stop } = follow(system.replica(0));
  await current(list);
  stop();
  const { tokens, identity } = await signIn(system.first);
  await system.first.call('UserService/Logout', {}, identity);
  const again = follow(system.replica(1), list);
  await revoked(list, tokens.session_id);
  again.stop();
  const fresh = follow(system.replica(1));
  await revoked(fresh.list, tokens.session_id);
  fresh.stop();
});

test('a revocation outlives every token of its session', async () => {
  const { tokens, identity } = await signIn(system.first);
  const { list, stop } = follow(system.replica(0));
  await system.first.call('UserService/Logout', {}, identity);
  await revoked(list, tokens.session_id);
  expect(list.isRevoked(tokens.session_id, Date.now() + 900_000)).toBe(true);
  expect(list.isRevoked(tokens.session_id, Date.now() + 1_000_000)).toBe(false);
  stop();
});

/** As if the session had been revoked, and everything read from the feeds, a while ago. */
const longAgo = (sessionId: string) =>
  system.sql(`update sessions set revoked_at = revoked_at - interval '10 minutes' where id = $1`, [sessionId]);

test('tokens from before the lifetime was lowered stay revoked, also for a gateway that starts later', async () => {
  const { tokens, identity } = await signIn(system.first);
  await system.first.call('UserService/Logout', {}, identity);
  await longAgo(tokens.session_id);
  const lowered = await UserSystem.join(system, { ACCESS_TOKEN_SECONDS: '5', PRUNE_SECONDS: '1' });
  await vi.waitFor(
    async () => {
      const metrics = await (await fetch(`http://127.0.0.1:${lowered.adminPort}/metrics`)).text();
      expect(metrics).toMatch(/pruned\w*\{[^}]*table="sessions"/);
    },
    { timeout: 10_000 },
  );
  const { list, stop } = follow(lowered);
  await revoked(list, tokens.session_id);
  expect(list.isRevoked(tokens.session_id, Date.now() + 850_000)).toBe(true);
  stop();
  await lowered.stop();
});

test('a session with tokens that live longer than those of the replica that ends it', async () => {
  const raised = await UserSystem.join(system, { ACCESS_TOKEN_SECONDS: '86400' });
  const { tokens, identity } = await signIn(raised);
  await raised.stop();
  const { list, stop } = follow(system.replica(1));
  await current(list);
  await system.first.call('UserService/Logout', {}, identity);
  await revoked(list, tokens.session_id);
  expect(list.isRevoked(tokens.session_id, Date.now() + 86_400_000)).toBe(true);
  stop();
});

test('a repeated refresh makes no token that outlives what the rotation wrote down', async () => {
  const short = await UserSystem.join(system, { ACCESS_TOKEN_SECONDS: '30' });
  const { tokens } = await signIn(short);
  const refresh = (replica: Replica) =>
    replica.call<SessionTokens>('UserService/Refresh', { refresh_token: tokens.refresh_token });
  const [rotated, repeated] = [await refresh(short), await refresh(system.first)];
  expect(repeated.refresh_token).toBe(rotated.refresh_token);
  expect(repeated.expires_in).toBeLessThanOrEqual(30 + 10 + 1);
  expect((await refresh(short)).expires_in).toBeLessThanOrEqual(30);
  await short.stop();
});

test('a broken database connection is mended and nothing is missed', async () => {
  const { list, stop } = follow(system.replica(0));
  await current(list);
  await system.sql(
    `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'sluice-user-revocations'`,
  );
  const { tokens, identity } = await signIn(system.first);
  await system.first.call('UserService/Logout', {}, identity);
  await revoked(list, tokens.session_id);
  await current(list);
  stop();
});

test('watchers hear something every second, also for a while after a logout', async () => {
  const { list, stop } = follow(system.replica(1));
  await current(list);
  const { identity } = await signIn(system.first);
  await system.first.call('UserService/Logout', {}, identity);
  // As long as the feed reads again what it has sent: before, it said nothing for these ten seconds.
  const oldest = { ageMs: 0 };
  for (const until = Date.now() + 8000; Date.now() < until; await setTimeout(50)) {
    oldest.ageMs = Math.max(oldest.ageMs, list.ageMs());
  }
  expect(oldest.ageMs).toBeLessThan(4000);
  stop();
}, 30_000);

test('what a notification says is not believed, whoever sends it, and many do no harm', async () => {
  const { list, stop } = follow(system.replica(1));
  await current(list);
  const { tokens } = await signIn(system.first);
  await system.sql(`create role stranger login password 'stranger'`);
  const url = new URL(system.postgres.url);
  [url.username, url.password] = ['stranger', 'stranger'];
  const stranger = new pg.Client(url.href);
  await stranger.connect();
  const until = Date.now() + 1000;
  const payload = `${tokens.session_id} ${Date.now()} ${Date.now() + 900_000}`;
  for (const text of [payload, '', 'x', ...Array.from({ length: 500 }, (_, index) => `${payload}${index}`)]) {
    await stranger.query(`select pg_notify('sluice_revocations', $1)`, [text]);
  }
  await setTimeout(Math.max(0, until - Date.now()));
  await stranger.end();
  expect(list.isRevoked(tokens.session_id, Date.now())).toBe(false);
  const other = await signIn(system.first);
  await system.first.call('UserService/Logout', {}, other.identity);
  await revoked(list, other.tokens.session_id);
  stop();
});

test('nobody but the gateway may watch', async () => {
  for (const identity of [{}, { subject: 'someone', roles: 'admin,operator,service' }]) {
    const stream = system.first.watch('RevocationService/WatchRevocations', {}, identity);
    const error = await new Promise<{ code: number }>((resolve) => stream.on('error', resolve));
    expect([7, 16]).toContain(error.code);
  }
});
