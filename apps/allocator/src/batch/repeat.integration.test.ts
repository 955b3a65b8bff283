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
