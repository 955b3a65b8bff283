import { createLogger } from '@sluice/telemetry';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type BudgetDatabase, operation, startBudgetDatabase } from './budget-database.fixture.js';
import { referenceOf } from './operation.js';
import { Statistics } from './statistics.js';

let database: BudgetDatabase;
beforeAll(async () => {
  database = await startBudgetDatabase({ nodes: { a: 1_000_000_000 } });
});
afterAll(() => database?.stop());

it('brings plans that were made over empty tables up to date as the tables grow', async () => {
  const accounts = 1500;
  await database.pool.query(`
    update settings set accounted = true;
    insert into accounts (account_id, tenant, parent, level, name) values (nextval('account_seq'), 'acme', null, 0, '');
    insert into accounts (tenant, parent, level, name) select 'acme', 1, 1, 'a' || i from generate_series(1, ${accounts}) i;
    insert into limits (account_id, unit, amount, period, zone, week_start, soft_percent, hard)
      select account_id, 1, 1000000, 5, 'UTC', 1, 80, true from accounts`);
  const executor = database.executor();
  const touch = (from: number, to: number) =>
    executor.apply(
      Array.from({ length: to - from }, (_, index) =>
        operation('allocate', `r${from + index}`, 1, { reference: referenceOf('', `a${from + index}`, false) }),
      ),
      false,
    );
  // The plans of this connection are made now.
  await touch(1, 2);
  const statistics = new Statistics(database.dataSource, createLogger('test', 'fatal'));
  for (let from = 2; from < accounts; from += 250) await touch(from, Math.min(from + 250, accounts));
  const analyzed = async () => {
    await statistics.run();
    const { rows } = await database.pool.query<{ name: string }>(
      `select relname as name from pg_class where relname in ('periods', 'charge_sets', 'leaf_current', 'limits', 'accounts') and reltuples > 1000
         order by relname`,
    );
    return rows.map(({ name }) => name);
  };
  await expect.poll(analyzed).toEqual(['accounts', 'charge_sets', 'leaf_current', 'limits', 'periods']);
  const { outcomes } = await touch(1, 2);
  expect(outcomes[0]?.result).toBe('done');
});
