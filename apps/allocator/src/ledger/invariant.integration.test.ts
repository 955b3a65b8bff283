import { createLogger, Registry } from '@sluice/telemetry';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BudgetDatabase, operation, startBudgetDatabase } from '../batch/budget-database.fixture.js';
import { Invariant } from './invariant.js';

describe('the invariant metric', () => {
  let database: BudgetDatabase;

  beforeAll(async () => {
    database = await startBudgetDatabase({ nodes: { a: 1000, b: 1000 } });
  });
  afterAll(() => database.stop());

  it('stays 0 while batches are committed, and shows a balance that the ledger does not explain', async () => {
    const metrics = new Registry();
    const invariant = new Invariant(database.dataSource, createLogger('test', 'fatal'), metrics);
    const violations = async () =>
      (await metrics.getSingleMetric('allocator_invariant_violations')?.get())?.values[0]?.value;
    const executor = database.executor();
    await invariant.check();
    for (let round = 0; round < 20; round++) {
      const batch = executor.apply([operation('allocate', `r${round}`, 7)], false);
      await invariant.check();
      await batch;
      expect(await violations()).toBe(0);
    }
    await invariant.check();
    await database.pool.query(`update nodes set used = used - 1 where node_id = 'a'`);
    await invariant.check();
    expect(await violations()).toBe(1);
    // It is said until it is repaired.
    await invariant.check();
    expect(await violations()).toBe(1);
    await database.pool.query(`update nodes set used = used + 1 where node_id = 'a'`);
    await invariant.check();
    expect(await violations()).toBe(0);
  });
});
