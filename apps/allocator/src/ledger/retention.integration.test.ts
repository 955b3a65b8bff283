import { createLogger } from '@sluice/telemetry';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BudgetDatabase, operation, startBudgetDatabase } from '../batch/budget-database.fixture.js';
import { allocatorSettings, type AllocatorSettings } from '../settings.js';
import { readSettings } from '@sluice/config';
import { Retention } from './retention.js';
import { verify } from './verify.js';

const environment = { DATABASE_URL: 'postgres://unused', ALLOCATION_HISTORY_HOURS: '24', LEDGER_MONTHS: '2' };

describe('history', () => {
  let database: BudgetDatabase;
  let retention: Retention;

  beforeAll(async () => {
    database = await startBudgetDatabase({ nodes: { a: 1000, b: 1000 } });
    const settings: AllocatorSettings = readSettings(allocatorSettings(environment), environment);
    retention = new Retention(database.dataSource, settings, createLogger('test', 'fatal'));
    await retention.run();
  });
  afterAll(() => database.stop());

  const sql = async (text: string) => (await database.pool.query(text)).rows as Record<string, unknown>[];

  it('makes the months ahead, and gives them what was written before', async () => {
    const months = await sql(`select relname from pg_class where relname ~ '^ledger_\\d{4}_\\d{2}$'`);
    expect(months.length).toBeGreaterThanOrEqual(3);
    expect(await sql('select * from ledger_default')).toEqual([]);
    expect(await sql('select count(*)::int from ledger')).toEqual([{ count: 2 }]);
  });

  it('forgets what ended long ago, and nothing else', async () => {
    const executor = database.executor();
    await executor.apply(
      ['old', 'young', 'live', 'settled'].map((id) => operation('allocate', id, 10)),
      false,
    );
    await executor.apply(
      [operation('free', 'old'), operation('free', 'young'), operation('settle', 'settled', 4)],
      false,
    );
    // Two days pass for everything but `young`.
    await sql(`update allocations set create_time = create_time - interval '2 days', update_time = update_time - interval '2 days'
                 where request_id <> 'young'`);
    await sql(`update ledger set at = at - interval '2 days' where request_id is distinct from 'young'`);
    await sql(`update settings set pruned_until = now() - interval '3 days'`);
    await retention.run();
    expect(await sql('select request_id from allocations order by 1')).toEqual([
      { request_id: 'live' },
      { request_id: 'settled' },
      { request_id: 'young' },
    ]);
    expect((await verify(database.pool)).ok).toBe(true);
    // The id may be used anew, also with another count.
    const { outcomes } = await executor.apply([operation('allocate', 'old', 11)], false);
    expect(outcomes[0]?.result).toBe('done');
    expect((await verify(database.pool)).ok).toBe(true);
  });

  it('carries a month forward when it drops it', async () => {
    const executor = database.executor();
    await executor.apply([operation('allocate', 'ancient', 30), operation('allocate', 'gone', 5)], false);
    await executor.apply([operation('free', 'gone')], false);
    await sql(`create table ledger_2020_01 partition of ledger for values from ('2020-01-01') to ('2020-02-01')`);
    await sql(`update ledger set at = '2020-01-15' where request_id in ('ancient', 'gone') or kind = 6`);
    await retention.run();
    expect(await sql(`select to_regclass('ledger_2020_01') as month`)).toEqual([{ month: null }]);
    expect(await sql('select request_id, delta::int, capacity_delta::int from ledger_opening order by 1, 3')).toEqual([
      { request_id: 'ancient', delta: 30, capacity_delta: 0 },
      { request_id: null, delta: 0, capacity_delta: 1000 },
      { request_id: null, delta: 0, capacity_delta: 1000 },
    ]);
    expect((await verify(database.pool)).ok).toBe(true);
    await executor.apply([operation('free', 'ancient')], false);
    expect((await verify(database.pool)).ok).toBe(true);
  });

  it('keeps a month of the ledger for as long as the history of what ended in it', async () => {
    const executor = database.executor();
    await executor.apply([operation('allocate', 'outlived', 3)], false);
    await executor.apply([operation('free', 'outlived')], false);
    await sql(`create table ledger_2020_02 partition of ledger for values from ('2020-02-01') to ('2020-03-01')`);
    await sql(`update ledger set at = '2020-02-15' where request_id = 'outlived'`);
    await sql(`update allocations set update_time = '2020-02-15' where request_id = 'outlived'`);
    const long = { ...environment, ALLOCATION_HISTORY_HOURS: '87600' };
    await sql(`update settings set pruned_until = '2020-02-01'`);
    const patient = new Retention(
      database.dataSource,
      readSettings(allocatorSettings(long), long),
      createLogger('test', 'fatal'),
    );
    await patient.run();
    expect(await sql(`select to_regclass('ledger_2020_02')::text as month`)).toEqual([{ month: 'ledger_2020_02' }]);
    expect(await sql(`select request_id from allocations where request_id = 'outlived'`)).toHaveLength(1);
    // The history is shortened: the allocation goes first, then its month.
    await sql(`update settings set pruned_until = '2020-02-14'`);
    const hours = Math.floor((Date.now() - Date.parse('2020-02-16')) / 3_600_000);
    const short = { ...environment, ALLOCATION_HISTORY_HOURS: String(hours) };
    await new Retention(
      database.dataSource,
      readSettings(allocatorSettings(short), short),
      createLogger('test', 'fatal'),
    ).run();
    expect(await sql(`select to_regclass('ledger_2020_02')::text as month`)).toEqual([{ month: 'ledger_2020_02' }]);
    await sql(`update settings set pruned_until = now() - interval '1 day'`);
    await retention.run();
    expect(await sql(`select request_id from allocations where request_id = 'outlived'`)).toEqual([]);
    expect(await sql(`select to_regclass('ledger_2020_02') as month`)).toEqual([{ month: null }]);
    expect((await verify(database.pool)).ok).toBe(true);
  });

  it('finds every kind of damage', async () => {
    const executor = database.executor();
    await executor.apply([operation('allocate', 'damaged', 10, { ttlSeconds: 600 })], false);
    const damages = [
      `update nodes set used = used + 1 where node_id = 'a'`,
      `update nodes set capacity = capacity + 1 where node_id = 'b'`,
      `update allocations set token_count = 11 where request_id = 'damaged'`,
      `update allocations set state = 3 where request_id = 'damaged'`,
      `delete from ledger where request_id = 'damaged'`,
      `insert into ledger select * from ledger where request_id = 'damaged'`,
      `delete from leases`,
      `update allocations set expires_at = null where request_id = 'damaged'`,
      `update ledger set delta = 5000 where request_id = 'damaged'; update allocations set token_count = 5000 where request_id = 'damaged';
       update nodes n set used = used + 4990 from allocations a where a.request_id = 'damaged' and n.node_id = a.node_id`,
    ];
    const client = await database.pool.connect();
    try {
      for (const damage of damages) {
        await client.query('begin');
        await client.query(damage);
        expect((await verify(client)).ok, damage).toBe(false);
        await client.query('rollback');
      }
      expect((await verify(client)).ok).toBe(true);
    } finally {
      client.release();
    }
  });
});
