/**
 * `npm run budget -- verify`: recomputes every balance from the ledger and compares. Exit code 0: all is well; 1: a rule is
 * broken; 2: it could not be checked. `show` and `apply`: accounts and limits.
 *
 * The database is ALLOCATOR_DATABASE_URL or DATABASE_URL, each also as `…_FILE`, or what `npm start` has put into `.sluice`.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ConfigurationError, readSettings } from '@sluice/config';
import { databaseUrl } from '@sluice/service';
import { clientClass, parseAddress, type DatabaseAddress } from '@sluice/storage';
import { BudgetCommands } from '../accounts/budget-commands.js';
import { verify, type Verification } from './verify.js';

const STARTED_HERE = join('.sluice', 'secrets', 'allocator-database-url');

function findDatabase(environment: NodeJS.ProcessEnv): string {
  const given = ['ALLOCATOR_DATABASE_URL', 'DATABASE_URL'].some(
    (name) => environment[name] || environment[`${name}_FILE`],
  );
  const source = given || !existsSync(STARTED_HERE) ? environment : { ALLOCATOR_DATABASE_URL_FILE: STARTED_HERE };
  const setting = databaseUrl('ALLOCATOR_DATABASE_URL', source);
  return readSettings({ ALLOCATOR_DATABASE_URL: setting }, source).ALLOCATOR_DATABASE_URL;
}

async function verifyDatabase(url: string): Promise<Verification> {
  const address = parseAddress(url) as DatabaseAddress;
  const client = new (clientClass(address))({
    connectionString: address.url,
    application_name: 'sluice-budget',
    options: '-c search_path=budget',
  });
  await client.connect();
  try {
    await client.query('begin isolation level repeatable read, read only');
    return await verify(client);
  } finally {
    await client.end();
  }
}

function print(result: Verification): void {
  console.log(
    `${result.nodes} nodes, ${result.used} of ${result.capacity} tokens used by ${result.liveAllocations} live allocations; ` +
      `${result.ledgerEntries} entries in the ledger`,
  );
  for (const { name, breaches } of result.rules) {
    console.log(`${breaches.length === 0 ? 'holds ' : 'BROKEN'}  ${name}`);
    for (const breach of breaches) console.log(`        ${JSON.stringify(breach)}`);
  }
  if (result.shrunk.length > 0) {
    console.log(`note    shrunk under what they hold, so that nothing remains on them: ${result.shrunk.join(', ')}`);
  }
  console.log(result.ok ? 'The budget is right.' : 'The budget is WRONG.');
}

const usage = `Budgets, over the database of the allocator.

  npm run budget -- verify                              recomputes every balance from the ledger and compares
  npm run budget -- show [TENANT]                       the accounts of a tenant, and what is used of their limits
  npm run budget -- apply FILE [--yes] [--prune]        makes the accounts as the file says; shows what would change first

An account that the file names gets exactly the limits that it names. Accounts that it does not name are left alone, or closed with
--prune. Without --yes it asks.

  tenants:
    acme:
      limits:
        - { unit: tokens, amount: 50000000, period: month, zone: Europe/Berlin }
        - { unit: usd, amount: 200, period: month, zone: Europe/Berlin, soft_percent: 80 }
      accounts:
        search:
          limits: [{ unit: tokens, amount: 10000000, period: day, zone: Europe/Berlin }]
          accounts: { indexer: { limits: [{ unit: tokens, amount: 200000, period: minute }] } }
`;

async function main(): Promise<number> {
  const options = { yes: { type: 'boolean' }, prune: { type: 'boolean' }, help: { type: 'boolean' } } as const;
  const { positionals, values } = parseArgs({ allowPositionals: true, options });
  const [command, argument, ...rest] = positionals;
  if (values.help) {
    console.log(usage);
    return 0;
  }
  const plain = values.yes === undefined && values.prune === undefined;
  if (command === 'verify' && argument === undefined && plain) {
    const result = await verifyDatabase(findDatabase(process.env));
    print(result);
    return result.ok ? 0 : 1;
  }
  if ((command === 'show' && plain) || (command === 'apply' && argument !== undefined)) {
    if (rest.length > 0) throw new UsageError(`${rest[0]}: expected nothing more`);
    const commands = await BudgetCommands.open(findDatabase(process.env));
    try {
      if (command === 'apply') {
        return await commands.apply(argument as string, { yes: values.yes ?? false, prune: values.prune ?? false });
      }
      await commands.show(argument ?? '');
      return 0;
    } finally {
      await commands.close();
    }
  }
  throw new UsageError(
    command === undefined ? 'expected a command' : `${command}: expected verify, show or apply FILE`,
  );
}

class UsageError extends Error {}

try {
  process.exitCode = await main();
} catch (error) {
  const cause = error instanceof AggregateError ? (error.errors[0] as unknown) : error;
  const why = cause instanceof Error ? cause.message : String(cause);
  const misused =
    error instanceof UsageError || String((error as { code?: unknown }).code).startsWith('ERR_PARSE_ARGS');
  if (misused) console.error(`${why}\n\n${usage}`);
  else if (error instanceof ConfigurationError && why.includes('DATABASE_URL')) {
    console.error(`${why}\nRun it in the folder of \`npm start\`, or name the database.`);
  } else console.error(error instanceof ConfigurationError ? why : `It could not be done: ${why}`);
  process.exitCode = 2;
}
