import { startSystem, type TestSystem } from '@sluice/testing';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { client } from './client.js';

let system: TestSystem;
let token: string;
let holder: pg.Client;
beforeAll(async () => {
  system = await startSystem();
  token = (await client(system.baseUrl).signIn()).accessToken;
  holder = new pg.Client(system.system.database!.adminUrl);
  await holder.connect();
});
afterAll(async () => {
  await holder?.end();
  await system?.stop();
});

/** Statements of the user service that wait for a lock, seen from outside. */
const waiting = async () => {
  const rows = await system.query<{ count: string }>(
    `select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%from users%'`,
  );
  return Number(rows[0]!.count);
};
const me = (init: RequestInit = {}) =>
  fetch(`${system.baseUrl}/api/v1/me`, { ...init, headers: { authorization: `Bearer ${token}`, ...init.headers } });

describe('while Postgres holds a call up', () => {
  beforeAll(() => holder.query('begin; lock table identity.users in access exclusive mode'));
  afterAll(() => holder.query('rollback'));

  it('the deadline of the edge ends the statement', async () => {
    const response = await me({ headers: { 'x-request-timeout': '700ms' } });
    expect(response.status).toBe(504);
    expect(await response.json()).toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    await expect.poll(waiting).toBe(0);
  });

  it('a client that leaves cancels the statement', async () => {
    const leaving = new AbortController();
    const call = me({ signal: leaving.signal }).catch((error: Error) => error.name);
    await expect.poll(waiting).toBe(1);
    leaving.abort();
    expect(await call).toBe('AbortError');
    await expect.poll(waiting).toBe(0);
  });
});

it('the service answers again once the lock is gone', async () => {
  expect((await me()).status).toBe(200);
});
