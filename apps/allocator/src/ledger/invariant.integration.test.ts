import { createLogger, Registry } from '@sluice/telemetry';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BudgetDatabase, operation, startBudgetDatabase } from '../batch/budget-database.fixture.js';
import { Nodes } from '../nodes/nodes.js';
import { Invariant } from './invariant.js';
import { verify } from './verify.js';

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

  it('follows nodes that are renamed and removed, and a database that is restored to an earlier time', async () => {
    const metrics = new Registry();
    const invariant = new Invariant(database.dataSource, createLogger('test', 'fatal'), metrics);
    const gauge = async (name: string) => (await metrics.getSingleMetric(name)?.get())?.values ?? [];
    const agrees = async () => {
      await invariant.check();
      expect(await gauge('allocator_invariant_violations')).toMatchObject([{ value: 0 }]);
    };
    const nodes = new Nodes(database.dataSource);
    const executor = database.executor();
    await executor.apply([operation('allocate', 'kept', 5)], false);
    await agrees();
    const schema = (name: string) =>
      database.pool.query(`
      drop schema if exists ${name} cascade; create schema ${name};
      create table ${name}.checkpoint as table checkpoint; create table ${name}.nodes as table nodes;
      create table ${name}.ledger as table ledger; create table ${name}.allocations as table allocations;
      create table ${name}.batch as select last_value from batch_seq`);
    await schema('backup');

    await nodes.rename({}, 'a', 'renamed');
    await nodes.add({}, 'c', '70');
    await nodes.remove({}, 'c');
    await executor.apply([operation('allocate', 'lost', 9)], false);
    await agrees();
    expect((await verify(database.pool)).rules.flatMap(({ breaches }) => breaches)).toEqual([]);
    const shown = await gauge('allocator_node_tokens');
    expect(new Set(shown.map(({ labels }) => (labels as { node: string }).node))).toEqual(new Set(['renamed', 'b']));

    // The service runs on while the backup is put back, and the numbers of batches are given out again.
    await database.pool.query(`
      truncate checkpoint, nodes, ledger, allocations;
      insert into checkpoint table backup.checkpoint; insert into nodes table backup.nodes;
      insert into ledger table backup.ledger; insert into allocations table backup.allocations;
      select setval('batch_seq', (select last_value from backup.batch))`);
    await agrees();
    await executor.apply([operation('allocate', 'after', 3)], false);
    await agrees();
    await database.pool.query(`update nodes set used = used + 1 where node_id = 'b'`);
    await invariant.check();
    expect(await gauge('allocator_invariant_violations')).toMatchObject([{ value: 1 }]);
    await database.pool.query(`update nodes set used = used - 1 where node_id = 'b'`);
    await agrees();
  });
});
