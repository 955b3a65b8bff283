import { startPostgres, type TestPostgres } from '@sluice/testing';
import pg from 'pg';
import type { DataSource } from 'typeorm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DeadlineError, execute, isConnectionFailure, openDatabase, statement, transaction } from './index.js';

const POOL = 3;
const sleep = statement('sleep', 'select pg_sleep(30)');

let postgres: TestPostgres;
let dataSource: DataSource;
let watcher: pg.Client;
beforeAll(async () => {
  postgres = await startPostgres();
  watcher = new pg.Client(postgres.url);
  await watcher.connect();
  dataSource = await openDatabase({
    url: postgres.url,
    schema: 'storage_test',
    applicationName: 'storage-test',
    poolSize: POOL,
    poolTimeoutMs: 2000,
    migrations: [],
  });
});
afterAll(async () => {
  await dataSource?.destroy();
  await watcher?.end();
  await postgres?.stop();
});

/** Statements that sleep at present, seen from outside the pool. */
const sleepers = async () => {
  const { rows } = await watcher.query(
    `select count(*) from pg_stat_activity where query = 'select pg_sleep(30)' and state = 'active'`,
  );
  return Number(rows[0].count);
};

describe('a caller that leaves', () => {
  it('cancels a prepared statement', async () => {
    const leaving = new AbortController();
    const running = execute(dataSource, { signal: leaving.signal }, sleep, []);
    await expect.poll(sleepers).toBe(1);
    leaving.abort();
    await expect(running).rejects.toBeInstanceOf(DeadlineError);
    await expect.poll(sleepers).toBe(0);
  });

  it('cancels the statement of a transaction, and the connection stays usable', async () => {
    const leaving = new AbortController();
    const running = transaction(dataSource, { signal: leaving.signal }, (manager) => manager.query(sleep.text));
    await expect.poll(sleepers).toBe(1);
    leaving.abort();
    await expect(running).rejects.toBeInstanceOf(DeadlineError);
    expect(await execute(dataSource, {}, statement<{ one: number }>('one', 'select 1 as one'), [])).toEqual([
      { one: 1 },
    ]);
  });

  it('is heard when every connection of the pool is taken, and a caller in the queue leaves it', async () => {
    const leaving = new AbortController();
    const caller = { signal: leaving.signal };
    const all = Array.from({ length: POOL + 2 }, () => execute(dataSource, caller, sleep, []));
    const ends = Promise.allSettled(all);
    await expect.poll(sleepers).toBe(POOL);
    leaving.abort();
    for (const end of await ends) expect(end).toMatchObject({ status: 'rejected', reason: { name: 'DeadlineError' } });
    await expect.poll(sleepers).toBe(0);
  });
});

it('makes the time that is left the statement timeout', async () => {
  const running = transaction(dataSource, { deadline: Date.now() + 300 }, (manager) => manager.query(sleep.text));
  await expect(running).rejects.toBeInstanceOf(DeadlineError);
  await expect(transaction(dataSource, { deadline: Date.now() - 1 }, async () => 1)).rejects.toBeInstanceOf(
    DeadlineError,
  );
});

it('answers OVERLOADED when no connection becomes free in the time of the pool', async () => {
  const leaving = new AbortController();
  const holders = Array.from({ length: POOL }, () => execute(dataSource, { signal: leaving.signal }, sleep, []));
  const ends = Promise.allSettled(holders);
  await expect(execute(dataSource, {}, sleep, [])).rejects.toMatchObject({ code: 'OVERLOADED' });
  leaving.abort();
  await ends;
});

describe('a connection that breaks', () => {
  it('fails the statement that runs on it, and nothing else', async () => {
    const running = execute(dataSource, {}, sleep, []);
    const broken = expect(running).rejects.toSatisfy(isConnectionFailure);
    await expect.poll(sleepers).toBe(1);
    await watcher.query(`select pg_terminate_backend(pid) from pg_stat_activity where query = 'select pg_sleep(30)'`);
    await broken;
    // Idle connections may have run the same statement before, and hear of their end a moment later.
    const one = () => execute(dataSource, {}, statement('one', 'select 1 as one'), []).catch(() => 'broken');
    await expect.poll(one).toEqual([{ one: 1 }]);
  });
});
