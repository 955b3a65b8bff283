import { startPostgres, type TestPostgres } from '@sluice/testing';
import type { DataSource } from 'typeorm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DeadlineError, openDatabase, takeLock, transaction, tryLock } from './index.js';

let postgres: TestPostgres;
let dataSource: DataSource;
const options = () => ({
  url: postgres.url,
  schema: 'lock_test',
  applicationName: 'lock-test',
  poolSize: 4,
  poolTimeoutMs: 5000,
  migrations: [],
});

beforeAll(async () => {
  postgres = await startPostgres();
  dataSource = await openDatabase(options());
});
afterAll(async () => {
  await dataSource?.destroy();
  await postgres?.stop();
});

/** Holds the lock until `release`. */
async function hold(name: string) {
  const held = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  const over = transaction(dataSource, {}, async (manager) => {
    await takeLock(manager, name);
    held.resolve();
    await released.promise;
  });
  await held.promise;
  return {
    release: () => {
      released.resolve();
      return over;
    },
  };
}

test('one at a time has a lock, the first time too, and others wait or are told', async () => {
  for (let round = 0; round < 2; round++) {
    const { release } = await hold('one');
    if (round > 0) expect(await transaction(dataSource, {}, (manager) => tryLock(manager, 'one'))).toBe(false);
    expect(await transaction(dataSource, {}, (manager) => tryLock(manager, 'another'))).toBe(true);
    let taken = false;
    const waiting = transaction(dataSource, {}, (manager) => takeLock(manager, 'one')).then(() => (taken = true));
    const blocked = `select 1 from pg_stat_activity where wait_event_type = 'Lock'`;
    await expect.poll(async () => (await dataSource.query(blocked)).length).toBe(1);
    expect(taken).toBe(false);
    await release();
    await waiting;
  }
  expect(await transaction(dataSource, {}, (manager) => tryLock(manager, 'one'))).toBe(true);
});

test('who waits too long for a lock is told so as for a deadline', async () => {
  const { release } = await hold('long');
  const waiting = transaction(dataSource, {}, async (manager) => {
    await manager.query(`set local lock_timeout = '50ms'`);
    await takeLock(manager, 'long');
  });
  await expect(waiting).rejects.toBeInstanceOf(DeadlineError);
  await release();
});

test('many that open a new schema at once all succeed', async () => {
  const all = await Promise.all(
    Array.from({ length: 8 }, () => openDatabase({ ...options(), schema: 'opened_at_once', poolSize: 1 })),
  );
  await Promise.all(all.map((opened) => opened.destroy()));
});

test('no lock is waited for, and no transaction left open, without a bound', async () => {
  const [settings] = await dataSource.query(
    `select current_setting('lock_timeout') as lock, current_setting('idle_in_transaction_session_timeout') as idle`,
  );
  expect(settings).toEqual({ lock: '30s', idle: '1min' });
});
