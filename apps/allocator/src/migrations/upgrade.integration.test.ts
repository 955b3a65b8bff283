import { openDatabase } from '@sluice/storage';
import { startPostgres, type TestPostgres } from '@sluice/testing';
import pg from 'pg';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { operation } from '../batch/budget-database.fixture.js';
import { installFunctions } from '../batch/functions.js';
import { referenceOf } from '../batch/operation.js';
import { PostgresExecutor } from '../batch/postgres-executor.js';
import { verify } from '../ledger/verify.js';
import { migrations } from './index.js';

/** The migrations of the release before accounts, and its function, as the first commit with functions in files had it. */
const FORMER = 5;

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
    poolSize: 3,
    poolTimeoutMs: 5000,
    migrations: migrations.slice(0, count),
  });

/** A call as replicas of the former release make it: the function and arguments that they know. */
async function former(client: pg.Client, kind: number, id: string, count: number, lookUp = true): Promise<number> {
  const { rows } = await client.query<{ codes: number[] | null }>(
    `select codes from budget.apply_batch(array[$1::int], array['acme'], array[$2], array['alice'], array[false], array[$3::bigint],
       array[0::bigint], $4, true, 10)`,
    [kind, id, count, lookUp],
  );
  return rows[0]?.codes?.[0] ?? 0;
}

it('a replica of the former release goes on beside the new one, and limits hold for both', async () => {
  const old = await open(FORMER);
  await old.query(`
    insert into settings (strategy, configured_strategy, large_request_tokens) values (1, 1, 1000000);
    insert into nodes (node_id, capacity) values ('a', 1000000);
    insert into ledger (batch, at, delta, capacity_delta, ordinal, kind, node_id) values (0, now(), 0, 1000000, 0, 6, 'a')`);
  await old.destroy();
  const dataSource = await open();
  await installFunctions(dataSource);
  const client = new pg.Client({ connectionString: postgres.url, options: '-c search_path=budget' });
  await client.connect();
  const executor = new PostgresExecutor({
    url: postgres.url,
    lockTimeoutMs: 5000,
    answerTimeoutMs: 10_000,
    sweepMax: 100,
  });
  const used = async () =>
    (await dataSource.query<{ used: number }[]>('select used::int from periods order by row_id')).map(
      (row) => row.used,
    );
  try {
    expect(await former(client, 1, 'before', 10)).toBe(0);
    await dataSource.query(`
      update settings set accounted = true;
      insert into accounts (account_id, tenant, parent, level, name) values (1, 'acme', null, 0, '');
      insert into limits (account_id, unit, amount, period, zone, week_start, soft_percent, hard) values (1, 1, 1000, 5, 'UTC', 1, 80, true)`);
    // Under load of both at once: each allocates and gives back, and neither takes the limit over its ceiling.
    let running = true;
    const theirs = (async () => {
      for (let number = 0; running; number++) {
        if ((await former(client, 1, `old-${number}`, 30)) === 0 && number % 2 === 0)
          await former(client, 4, `old-${number}`, 0);
      }
    })();
    const reference = referenceOf('', '', false);
    for (let number = 0; number < 60; number++) {
      const { outcomes } = await executor.apply([operation('allocate', `new-${number}`, 30, { reference })], false);
      if (outcomes[0]?.result === 'done' && number % 3 > 0)
        await executor.apply([operation('settle', `new-${number}`, 5)], false);
    }
    running = false;
    await theirs;
    expect((await used())[0]).toBeLessThanOrEqual(1000);
    expect(await former(client, 1, 'too much', 1001)).toBe(4);
    // What the new one has charged returns through the old one, and the reverse.
    const [before] = await used();
    await dataSource.query('update limits set amount = 100000; update periods set ceiling = 100000');
    await executor.apply([operation('allocate', 'ours', 50, { reference })], false);
    expect(await former(client, 4, 'ours', 0)).toBe(0);
    expect(await former(client, 1, 'theirs', 70)).toBe(0);
    await executor.apply([operation('settle', 'theirs', 20)], false);
    expect(await used()).toEqual([(before as number) + 20]);
    // What was settled for an account is spent to both.
    expect(await former(client, 4, 'theirs', 0)).toBe(6);
    expect(await former(client, 4, 'before', 0)).toBe(0);
    const { rules } = await verify({ query: async (text) => ({ rows: await dataSource.query(text) }) });
    expect(rules.filter(({ breaches }) => breaches.length > 0)).toEqual([]);
  } finally {
    await executor.close();
    await client.end();
    await dataSource.destroy();
  }
});

it('goes back to the release before', async () => {
  const dataSource = await open();
  await installFunctions(dataSource);
  while ((await dataSource.query(`select from budget.migrations`)).length > FORMER)
    await dataSource.undoLastMigration();
  const columns = await dataSource.query(
    `select from information_schema.columns where table_schema = 'budget' and column_name in ('set_id', 'accounted', 'pool')`,
  );
  expect(columns).toEqual([]);
  await dataSource.destroy();
});
