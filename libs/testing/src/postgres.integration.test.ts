import { existsSync } from 'node:fs';
import pg from 'pg';
import { afterEach, expect, test } from 'vitest';
import { startPostgres, type TestPostgres } from './index.js';

const open: TestPostgres[] = [];
afterEach(async () => {
  for (const postgres of open.splice(0)) await postgres.stop();
});

async function start(): Promise<TestPostgres> {
  const postgres = await startPostgres();
  open.push(postgres);
  return postgres;
}

async function query(url: string, text: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}

test('each call gives an empty database of its own on one server', async () => {
  const first = await start();
  const second = await start();
  await query(first.url, 'create table only_here (id int)');
  expect(second.server.pid).toBe(first.server.pid);
  await expect(query(second.url, 'select * from only_here')).rejects.toThrow('does not exist');
});

test('the last stop ends the server and removes its folder', async () => {
  const postgres = await start();
  await postgres.stop();
  await expect(postgres.server.ended).resolves.toContain('code 0');
  expect(existsSync(postgres.server.dataDir)).toBe(false);
});

test('stopping one database leaves the other in use', async () => {
  const first = await start();
  const second = await start();
  await first.stop();
  await expect(query(second.url, 'select 1 as one')).resolves.toEqual([{ one: 1 }]);
});
