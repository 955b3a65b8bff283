import { createLogger } from '@sluice/telemetry';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type BudgetDatabase, operation, startBudgetDatabase } from '../batch/budget-database.fixture.js';
import { referenceOf } from '../batch/operation.js';
import { PeriodsAhead } from './periods-ahead.js';

let database: BudgetDatabase;
beforeAll(async () => {
  database = await startBudgetDatabase({ nodes: { a: 1_000_000 } });
});
afterAll(() => database?.stop());

it('makes the rows of the next period before it begins, once, and charges them when it has', async () => {
  await database.pool.query(`
    update settings set accounted = true;
    insert into accounts (account_id, tenant, parent, level, name) values (1, 'acme', null, 0, '');
    insert into limits (limit_id, account_id, unit, amount, period, zone, week_start, soft_percent, hard)
      values (11, 1, 1, 100, 3, 'Europe/Berlin', 1, 80, true), (12, 1, 1, 100, 1, 'UTC', 1, 80, true), (13, 1, 1, 100, 5, 'UTC', 1, 80, true)`);
  const executor = database.executor();
  const client = await executor['connection']();
  const at = (time: string) => client.query(`set budget.clock = '${time}'`);
  const allocate = (id: string) =>
    executor.apply([operation('allocate', id, 7, { reference: referenceOf('', '', false) })], false);
  const rows = async () =>
    (
      await database.pool.query(
        `select limit_id::int as limit, to_char(starts at time zone 'UTC', 'MM-DD HH24:MI') as starts, used::int from periods order by 1, starts`,
      )
    ).rows;
  await at('2026-06-10T21:50:00Z');
  await allocate('before');
  const ahead = new PeriodsAhead(database.dataSource, createLogger('test', 'fatal'));
  for (let replica = 0; replica < 3; replica++) {
    await database.dataSource.query(`set budget.clock = '2026-06-10T21:50:00Z'`);
    await ahead.run();
  }
  const made = [
    { limit: 11, starts: '06-09 22:00', used: 7 },
    { limit: 11, starts: '06-10 22:00', used: 0 },
    { limit: 12, starts: '06-10 21:50', used: 7 },
    { limit: 13, starts: '06-01 00:00', used: 7 },
  ];
  expect(await rows()).toEqual(made);
  await at('2026-06-10T22:00:00Z');
  await allocate('after');
  expect((await rows()).filter(({ limit }) => limit === 11)).toEqual([
    { limit: 11, starts: '06-09 22:00', used: 7 },
    { limit: 11, starts: '06-10 22:00', used: 7 },
  ]);
});
