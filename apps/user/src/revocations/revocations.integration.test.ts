import type { userV1 } from '@sluice/contract';
import { createVerifier, RevocationList } from '@sluice/identity';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { failure, signIn, UserSystem } from '../replicas.fixture.js';

let system: UserSystem;
const gateway = { subject: 'gateway', roles: 'gateway' };

beforeAll(async () => {
  system = await UserSystem.start(2);
});
afterAll(() => system?.stop());

/** What a gateway does with the stream. */
function follow(replica: number, list = new RevocationList()) {
  const stream = system.replica(replica).watch('RevocationService/WatchRevocations', { cursor: list.cursor }, gateway);
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
  const { list, stop } = follow(1);
  await current(list);
  for (let round = 0; round < 30; round++) {
    const { tokens, identity } = await signIn(system.first);
    await system.first.call('UserService/Logout', {}, identity);
    await revoked(list, tokens.session_id);
  }
  stop();
});

test('a verifier with the list refuses the token of a stolen session', async () => {
  const { list, stop } = follow(0);
  const verifier = createVerifier({
    issuer: 'http://localhost:8083',
    audience: 'sluice',
    revocations: list,
    keys: async () => ({
      keys: (await system.first.call<userV1.KeySet>('KeyService/GetKeySet', {})).keys.map((key) => ({ ...key })),
    }),
  });
  const { tokens } = await signIn(system.first);
  const refresh = (refresh_token: string) =>
    system.first.call<userV1.TokenResponse>('UserService/Refresh', { refresh_token });
  const second = await refresh(tokens.refresh_token);
  const third = await refresh(second.refresh_token);
  await expect(verifier.verify(third.access_token)).resolves.toBeDefined();
  await failure(refresh(tokens.refresh_token));
  await revoked(list, tokens.session_id);
  expect(() => verifier.verify(third.access_token)).toThrow(expect.objectContaining({ code: 'SESSION_REVOKED' }));
  stop();
});

test('who was away catches up: from its cursor, or with everything that still matters', async () => {
  const { list, stop } = follow(0);
  await current(list);
  stop();
  const { tokens, identity } = await signIn(system.first);
  await system.first.call('UserService/Logout', {}, identity);
  const again = follow(1, list);
  await revoked(list, tokens.session_id);
  again.stop();
  const fresh = follow(1);
  await revoked(fresh.list, tokens.session_id);
  fresh.stop();
});

test('a revocation outlives every token of its session', async () => {
  const { tokens, identity } = await signIn(system.first);
  const { list, stop } = follow(0);
  await system.first.call('UserService/Logout', {}, identity);
  await revoked(list, tokens.session_id);
  expect(list.isRevoked(tokens.session_id, Date.now() + 900_000)).toBe(true);
  expect(list.isRevoked(tokens.session_id, Date.now() + 1_000_000)).toBe(false);
  stop();
});

test('a broken database connection is mended and nothing is missed', async () => {
  const { list, stop } = follow(0);
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

test('nobody but the gateway may watch', async () => {
  for (const identity of [{}, { subject: 'someone', roles: 'admin,operator,service' }]) {
    const stream = system.first.watch('RevocationService/WatchRevocations', {}, identity);
    const error = await new Promise<{ code: number }>((resolve) => stream.on('error', resolve));
    expect([7, 16]).toContain(error.code);
  }
});
