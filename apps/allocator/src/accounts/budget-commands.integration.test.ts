import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { type BudgetDatabase, startBudgetDatabase } from '../batch/budget-database.fixture.js';
import { BudgetCommands } from './budget-commands.js';

let database: BudgetDatabase;
let commands: BudgetCommands;
let folder = '';
let lines: string[] = [];
beforeAll(async () => {
  database = await startBudgetDatabase({ nodes: { a: 1000 } });
  commands = await BudgetCommands.open(database.postgres.url);
  folder = mkdtempSync(join(tmpdir(), 'sluice-budgets-'));
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await commands?.close();
  await database?.stop();
});
beforeEach(() => {
  lines = [];
  vi.spyOn(console, 'log').mockImplementation((line: string) => void lines.push(line));
});
afterEach(() => vi.restoreAllMocks());

const apply = (text: string, options: { yes?: boolean; prune?: boolean } = {}) => {
  const file = join(folder, 'budgets.yaml');
  writeFileSync(file, text);
  return commands.apply(file, { yes: true, prune: false, ...options });
};

const first = `
tenants:
  acme:
    limits:
      - { unit: tokens, amount: 50000000, period: month, zone: Europe/Berlin }
      - { unit: usd, amount: 200.5, period: month, zone: Europe/Berlin }
    accounts:
      search:
        limits: [{ unit: tokens, amount: 10000000, period: day, zone: Europe/Berlin }]
        accounts: { indexer: { limits: [{ unit: tokens, amount: 200000, period: minute }] } }
`;

it('shows what would change, makes it, and finds nothing to do the second time', async () => {
  expect(await apply(first, { yes: false })).toBe(1);
  expect(lines).toEqual([
    '+ limit   acme:- 50000000 tokens, month, Europe/Berlin, warns at 80 %',
    '+ limit   acme:- 200500000 micro_usd, month, Europe/Berlin, warns at 80 %',
    '+ account acme:search',
    '+ limit   acme:search 10000000 tokens, day, Europe/Berlin, warns at 80 %',
    '+ account acme:search/indexer',
    '+ limit   acme:search/indexer 200000 tokens, minute, warns at 80 %',
    'Nothing was changed: run it with --yes to make these changes.',
  ]);
  expect((await database.pool.query('select from accounts')).rowCount).toBe(0);
  expect(await apply(first)).toBe(0);
  lines = [];
  expect(await apply(first)).toBe(0);
  expect(lines).toEqual(['Everything is as the file says.']);
  const { rows } = await database.pool.query(`select distinct actor from budget_changes`);
  expect(rows).toEqual([{ actor: 'npm run budget' }]);
});

it('changes and takes away what the file says otherwise, and closes the rest only when that is wanted', async () => {
  const second = first
    .replace('10000000', '9000000')
    .replace('accounts: { indexer: { limits: [{ unit: tokens, amount: 200000, period: minute }] } }', '');
  expect(await apply(second)).toBe(0);
  expect(lines).toEqual([
    '~ limit   acme:search 10000000 -> 9000000 tokens, day, Europe/Berlin (used 0)',
    '1 change made.',
  ]);
  lines = [];
  expect(
    await apply(
      second.replace('limits: [{ unit: tokens, amount: 9000000, period: day, zone: Europe/Berlin }]', 'limits: []'),
      { prune: true },
    ),
  ).toBe(0);
  // Guests have an account by default, which this file does not name either.
  expect(lines.toSorted()).toEqual([
    '- account acme:guests (closed)',
    '- account acme:search/indexer (closed)',
    '- limit   acme:search 9000000 tokens, day, Europe/Berlin (used 0)',
    '3 changes made.',
  ]);
  lines = [];
  await commands.show('acme');
  expect(lines.find((line) => line.includes('search/indexer'))).toMatch(/acc_\d+ {2}closed$/);
  expect(lines.find((line) => line.includes('micro_usd'))).toMatch(
    /lim_\d+ {2}0 of 200500000 micro_usd a month, until 20/,
  );
});

it.each([
  ['tenants: { acme: { limits: [{ unit: euro, amount: 1, period: day }] } }', /budgets.yaml:1:\d+: .*unit.*"euro"/],
  [
    'tenants: { acme: { limits: [{ unit: usd, amount: 0.0000001, period: day }] } }',
    /amount.*dollars with at most six decimals/,
  ],
  ['tenants: { acme: { limits: [{ unit: tokens, amount: 1.5, period: day }] } }', /amount.*whole number/],
  ['tenants: { acme: { limit: [] } }', /limit/],
  ['tenants: { acme: { accounts: { "a/b": {} } } }', /a\/b/],
  [
    'tenants: { acme: { accounts: { a: { accounts: { b: { accounts: { c: { accounts: { d: { accounts: { e: { accounts: { f: {} } } } } } } } } } } } } }',
    /accounts/,
  ],
])('refuses %s with its place', async (text, message) => {
  await expect(apply(text)).rejects.toThrow(message);
});
