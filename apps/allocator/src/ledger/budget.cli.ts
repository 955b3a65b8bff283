/**
 * `npm run budget -- verify`: recomputes every balance from the ledger and compares. Exit code 0: all is well; 1: a rule is
 * broken; 2: it could not be checked.
 *
 * The database is ALLOCATOR_DATABASE_URL or DATABASE_URL, each also as `…_FILE`, or what `npm start` has put into `.sluice`.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigurationError, readSettings } from '@sluice/config';
import { databaseUrl } from '@sluice/service';
import { clientClass, parseAddress, type DatabaseAddress } from '@sluice/storage';
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

async function main(): Promise<number> {
  if (process.argv[2] !== 'verify' || process.argv.length > 3) {
    console.error('npm run budget -- verify');
    return 2;
  }
  const result = await verifyDatabase(findDatabase(process.env));
  print(result);
  return result.ok ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  const cause = error instanceof AggregateError ? (error.errors[0] as unknown) : error;
  const why = cause instanceof Error ? cause.message : String(cause);
  console.error(
    error instanceof ConfigurationError
      ? `${why}\nRun it in the folder of \`npm start\`, or name the database.`
      : `The budget could not be checked: ${why}`,
  );
  process.exitCode = 2;
}
