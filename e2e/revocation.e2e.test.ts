import { startSystem, type TestSystem } from '@sluice/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { client } from './client.js';

let system: TestSystem;
beforeAll(async () => {
  system = await startSystem({ replicas: { user: 2 }, env: { RATE_LIMIT_ENABLED: 'false' } });
});
afterAll(() => system?.stop());

const metric = async (name: string) => {
  const admin = system.process('gateway').instance.adminUrl;
  const text = await (await fetch(`${admin}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
};

describe('a session that has ended', () => {
  it('is refused by the gateway soon, whichever replica ended it', async () => {
    const sessions = await Promise.all(Array.from({ length: 20 }, () => client(system.baseUrl).signIn()));
    for (const session of sessions) expect((await session.call('GET', '/api/v1/me')).status).toBe(200);
    await Promise.all(
      sessions.map(async (session) => {
        expect((await session.call('POST', '/api/v1/auth/logout', {})).status).toBe(200);
        await expect
          .poll(async () => (await session.call('GET', '/api/v1/me')).body.code, { interval: 20, timeout: 10_000 })
          .toBe('SESSION_REVOKED');
      }),
    );
  });

  it('can be signed out of twice, and its refresh token is dead', async () => {
    const session = await client(system.baseUrl).signIn();
    expect((await session.call('POST', '/api/v1/auth/logout', {})).status).toBe(200);
    expect((await session.call('POST', '/api/v1/auth/logout', {})).status).toBe(200);
    const refreshed = await client(system.baseUrl).call('POST', '/api/v1/auth/refresh', {
      refresh_token: session.refreshToken,
    });
    expect(refreshed.body.code).toBe('INVALID_GRANT');
  });

  it('stays refused, and the list catches up, after both replicas were killed', async () => {
    const before = await client(system.baseUrl).signIn();
    const after = await client(system.baseUrl).signIn();
    expect((await before.call('GET', '/api/v1/me')).status).toBe(200);
    expect((await after.call('GET', '/api/v1/me')).status).toBe(200);
    await before.call('POST', '/api/v1/auth/logout', {});
    await expect.poll(async () => (await before.call('GET', '/api/v1/strategy')).status).toBe(401);
    const replicas = system.system.processes.filter(({ name }) => name.startsWith('user'));
    for (const replica of replicas) replica.kill('SIGKILL');
    expect((await before.call('GET', '/api/v1/strategy')).status).toBe(401);
    // It ends while nobody can tell the gateway.
    await system.query(`update identity.sessions set revoked_at = clock_timestamp() where revoked_at is null`);
    for (const replica of replicas) await replica.ready();
    await expect.poll(async () => (await after.call('GET', '/api/v1/strategy')).status, { timeout: 20_000 }).toBe(401);
    expect(await metric('gateway_revocations_fresh')).toBe(1);
  });
});
