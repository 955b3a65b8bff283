import { afterAll, beforeAll, expect, it } from 'vitest';
import { type BudgetDatabase, operation, startBudgetDatabase } from './budget-database.fixture.js';

let database: BudgetDatabase;
beforeAll(async () => {
  database = await startBudgetDatabase({ nodes: { a: 10 } });
});
afterAll(() => database?.stop());

const results = async (...operations: ReturnType<typeof operation>[]) =>
  // A connection that was never told of a repetition, so that it does not look first.
  (await database.executor().apply(operations, false)).outcomes.map(({ result }) => result);

it('knows a request again when there is no room for another', async () => {
  expect(await results(operation('allocate', 'k1', 10))).toEqual(['done']);
  expect(await results(operation('allocate', 'k1', 10))).toEqual(['done']);
  expect(await results(operation('allocate', 'k1', 9))).toEqual(['mismatch']);
  expect(await results(operation('allocate', 'k1', 11))).toEqual(['mismatch']);
  expect(await results(operation('allocate', 'k2', 1), operation('allocate', 'k1', 10))).toEqual(['exhausted', 'done']);
});

it('debits once when two replicas that hold different nodes get one request at the same moment', async () => {
  await database.pool.query(`insert into nodes (node_id, capacity) values ('b', 10), ('c', 10)`);
  const locker = await database.pool.connect();
  const one = await database.pool.connect();
  try {
    await locker.query(`begin; select from nodes where node_id = 'b' for update`);
    await one.query('begin');
    const { rows } = await one.query(
      `select names, places from apply_batch(array[1], array['acme'], array['twin'], array['alice'], array[false],
         array[7::bigint], array[0::bigint], false, false, 10)`,
    );
    expect(rows).toEqual([{ names: ['a', 'c'], places: [2] }]);
    await locker.query('rollback');
    // The other has node b alone, and waits for what becomes of the first.
    const other = database.executor().apply([operation('allocate', 'twin', 7)], false);
    const waits = async () =>
      (await locker.query(`select from pg_stat_activity where wait_event = 'transactionid'`)).rowCount === 1;
    await expect.poll(waits).toBe(true);
    await one.query('commit');
    const [outcome] = (await other).outcomes;
    expect(outcome).toMatchObject({ result: 'done', allocation: { nodeId: 'c', tokenCount: '7' } });
  } finally {
    one.release(true);
    locker.release(true);
  }
  const { rows: nodes } = await database.pool.query('select node_id, used::int from nodes order by node_id');
  expect(nodes).toEqual([
    { node_id: 'a', used: 10 },
    { node_id: 'b', used: 0 },
    { node_id: 'c', used: 7 },
  ]);
});
