import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { type BudgetDatabase, operation, startBudgetDatabase } from './budget-database.fixture.js';
import { installFunctions, type SqlFunction, sqlFunctions } from './functions.js';

let database: BudgetDatabase;
beforeAll(async () => {
  database = await startBudgetDatabase({ nodes: { a: 1_000_000 } });
});
afterAll(() => database?.stop());
beforeEach(() => database.pool.query(`delete from functions where name = 'answer'`));

const answers = (version: number, value: number): SqlFunction => ({
  name: 'answer',
  version,
  hash: `hash ${value}`,
  text: `create or replace function answer() returns int language sql return ${value}`,
});
const answer = async () => (await database.pool.query('select answer()')).rows[0]?.answer as number;
const install = async (one: SqlFunction) => (await installFunctions(database.dataSource, [one])).get('answer');

it('replaces a text that differs, and leaves one alone that is the same', async () => {
  expect(await install(answers(1, 1))).toBe('installed');
  expect(await install(answers(1, 1))).toBe('kept');
  expect(await install(answers(2, 2))).toBe('installed');
  expect(await answer()).toBe(2);
});

it('never puts an older one in the place of a newer one, whoever starts last', async () => {
  const replicas = [3, 1, 5, 2, 4, 5, 1].map((version) => answers(version, version));
  await Promise.all(replicas.map(install));
  expect(await answer()).toBe(5);
  expect(await install(answers(4, 4))).toBe('newer is there');
  expect(await answer()).toBe(5);
});

it('is found at a start whose migrations had all run before', async () => {
  const first = sqlFunctions().find(({ name }) => name === 'apply_operations');
  await database.pool.query(`drop function ${first?.name}; delete from functions where name = '${first?.name}'`);
  await installFunctions(database.dataSource);
  const { outcomes } = await database.executor().apply([operation('allocate', 'after', 1)], false);
  expect(outcomes[0]?.result).toBe('done');
});

it('may be replaced while calls run', async () => {
  const executor = database.executor();
  let running = true;
  const calls = (async () => {
    const results = [];
    for (let call = 0; running; call++) {
      const { outcomes } = await executor.apply([operation('allocate', `under-way-${call}`, 1)], false);
      results.push(outcomes[0]?.result);
    }
    return results;
  })();
  for (let round = 0; round < 20; round++) {
    await database.pool.query(`update functions set hash = ''`);
    await installFunctions(database.dataSource);
  }
  running = false;
  expect(new Set(await calls)).toEqual(new Set(['done']));
});
