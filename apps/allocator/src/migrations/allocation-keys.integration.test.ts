import { openDatabase } from '@sluice/storage';
import { startPostgres, type TestPostgres } from '@sluice/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { operation } from '../batch/budget-database.fixture.js';
import { installFunctions } from '../batch/functions.js';
import type { Operation } from '../batch/operation.js';
import { PostgresExecutor } from '../batch/postgres-executor.js';
import { verify } from '../ledger/verify.js';
import { migrations } from './index.js';

const BEFORE = 2;

describe('the migration to a hash index', () => {
  let postgres: TestPostgres;
  beforeEach(async () => {
    postgres = await startPostgres();
  });
  afterEach(() => postgres.stop());

  const open = (count?: number) =>
    openDatabase({
      url: postgres.url,
      schema: 'budget',
      applicationName: 'test',
      poolSize: 2,
      poolTimeoutMs: 5000,
      migrations: migrations.slice(0, count),
    });

  it('keeps every allocation of an installation: remembered, settled, freed and expired as before', async () => {
    const old = await open(BEFORE);
    await old.query(`
      insert into settings (strategy, configured_strategy, large_request_tokens) values (1, 1, 1000);
      insert into nodes (node_id, capacity, used) values ('a', 1000, 70);
      insert into allocations (tenant, request_id, subject, node_id, token_count, ttl_seconds, settled, expires_at, create_time, update_time, state, strategy)
        values ('acme', 'live', 'alice', 'a', 10, 0, 0, null, now(), now(), 1, 1),
          ('other', 'live', 'alice', 'a', 20, 0, 0, null, now(), now(), 1, 1),
          ('acme', 'leased', 'alice', 'a', 30, 1, 0, now() - interval '1 second', now(), now(), 1, 1),
          ('acme', 'settled', 'alice', 'a', 40, 0, 10, null, now(), now(), 2, 1),
          ('acme', 'freed', 'alice', 'a', 50, 0, 0, null, now(), now(), 3, 1);
      insert into leases select expires_at, tenant, request_id from allocations where expires_at is not null;
      insert into ledger (batch, at, delta, capacity_delta, ordinal, kind, node_id, tenant, request_id)
        select 0, now(), 0, 1000, 0, 6, 'a', null, null
        union all
        select 1, now(), case state when 1 then token_count when 2 then settled else 0 end, 0,
            row_number() over (order by tenant, request_id), 1, node_id, tenant, request_id
          from allocations`);
    await old.destroy();

    const dataSource = await open();
    await installFunctions(dataSource);
    const executor = new PostgresExecutor({
      url: postgres.url,
      lockTimeoutMs: 5000,
      answerTimeoutMs: 10_000,
      sweepMax: 100,
    });
    const results = async (...operations: Operation[]) =>
      (await executor.apply(operations, false)).outcomes.map((outcome) =>
        'allocation' in outcome ? outcome.allocation.state : outcome.result,
      );
    try {
      // All are known, and of two tenants with one id each has its own.
      expect(
        await results(
          operation('allocate', 'live', 10),
          operation('allocate', 'live', 20, { tenant: 'other' }),
          operation('allocate', 'live', 10, { tenant: 'third' }),
          operation('allocate', 'leased', 30, { ttlSeconds: 1 }),
          operation('allocate', 'settled', 40),
          operation('allocate', 'freed', 50),
          operation('allocate', 'freed', 50, { tenant: 'other' }),
        ),
      ).toEqual([1, 1, 1, 4, 2, 3, 1]);
      expect(await results(operation('free', 'settled'), operation('settle', 'live', 3))).toEqual([3, 2]);
      expect(await dataSource.query('select used::int from nodes')).toEqual([{ used: 3 + 20 + 10 + 50 }]);
      const breaches = await verify({ query: async (text) => ({ rows: await dataSource.query(text) }) });
      expect(breaches.rules.flatMap((rule) => rule.breaches)).toEqual([]);
    } finally {
      await executor.close();
      await dataSource.destroy();
    }
  });

  it('finds allocations by one index, whose hashes differ between installations, and goes back', async () => {
    const dataSource = await open();
    try {
      const plan = await dataSource.transaction(async (manager) => {
        await manager.query('set local enable_seqscan = off');
        return manager.query(
          `explain select from allocations where allocation_key(tenant, request_id) = allocation_key('acme', 'r1')`,
        );
      });
      expect(JSON.stringify(plan)).toContain('Index Scan using allocations_key');
      const [{ key }] = await dataSource.query(`select allocation_key('acme', 'r1') as key`);
      expect(key).toMatch(/^[A-Za-z0-9+/]{16}acme\nr1$/);
      for (let undone = migrations.length; undone > BEFORE; undone--) await dataSource.undoLastMigration();
      const indexes = await dataSource.query(`select indexname from pg_indexes where tablename = 'allocations'`);
      expect(indexes).toEqual([{ indexname: 'allocations_pkey' }]);
    } finally {
      await dataSource.destroy();
    }
  });
});
