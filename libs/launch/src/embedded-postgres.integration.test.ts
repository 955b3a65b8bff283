import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { prepareDatabase, startEmbeddedPostgres, withClient, type EmbeddedPostgres } from './index.js';

let running: EmbeddedPostgres | undefined;
let folder: string;
let dataDir: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice postgres '));
  // When this is root, the account of Postgres must be able to enter.
  chmodSync(folder, 0o755);
  dataDir = join(folder, 'data');
});
afterEach(async () => {
  await running?.stop();
  running = undefined;
  if (existsSync(dataDir)) rmSync(realpathSync(dataDir), { recursive: true });
  rmSync(folder, { recursive: true, force: true });
});

async function start(): Promise<EmbeddedPostgres> {
  const options = { dataDir, password: 'a pass/word', logFile: join(folder, 'log'), settings: { fsync: 'off' } };
  running = await startEmbeddedPostgres(options);
  return running;
}

const ask = (url: string, text: string) =>
  withClient(url, async (client) => (await client.query(text)).rows as unknown[]);

test('a folder with a space; data survives a stop, a kill and a lock file that was left behind', async () => {
  const first = await start();
  await ask(first.url('postgres'), 'create table kept as select 1 as one');
  await first.stop();
  const second = await start();
  expect(await ask(second.url('postgres'), 'select * from kept')).toEqual([{ one: 1 }]);
  process.kill(second.pid, 'SIGKILL');
  await second.ended;
  expect(readFileSync(join(second.dataDir, 'postmaster.pid'), 'utf8')).toContain('ready');
  const third = await start();
  expect(third.pid).not.toBe(second.pid);
  expect(await ask(third.url('postgres'), 'select * from kept')).toEqual([{ one: 1 }]);
});

test('a second start on the folder takes it over from a server whose parent is lost', async () => {
  const first = await start();
  const second = await start();
  await expect(first.ended).resolves.toContain('code 0');
  expect(await ask(second.url('postgres'), 'select 1 as one')).toEqual([{ one: 1 }]);
});

test('an unfinished initdb is begun anew', async () => {
  const first = await start();
  await first.stop();
  rmSync(first.dataDir, { recursive: true });
  rmSync(dataDir, { force: true });
  writeFileSync(`${dataDir}.unfinished`, '');
  const second = await start();
  expect(await ask(second.url('postgres'), 'select 1 as one')).toEqual([{ one: 1 }]);
});

test('each owner has its schema and sees no other; preparing again changes passwords only', async () => {
  const server = await start();
  const owner = (name: string, password: string) => ({ role: `role_${name}`, schema: name, password });
  await prepareDatabase(server, 'shared', [owner('a', 'one'), owner('b', 'two')]);
  const a = server.url('shared', 'role_a', 'one');
  await ask(a, 'create table mine (id int)');
  await expect(ask(server.url('shared', 'role_b', 'two'), 'select * from a.mine')).rejects.toThrow('permission denied');
  const limits = `select rolname, rolconnlimit from pg_roles where rolname in ('role_a', 'role_b') order by 1`;
  expect(await ask(server.url('shared'), limits)).toEqual([
    { rolname: 'role_a', rolconnlimit: 95 },
    { rolname: 'role_b', rolconnlimit: 95 },
  ]);
  await prepareDatabase(server, 'shared', [owner('a', 'three')]);
  await expect(ask(a, 'select 1')).rejects.toThrow('password authentication failed');
  expect(await ask(server.url('shared', 'role_a', 'three'), 'select * from mine')).toEqual([]);
});

test('a tethered program is interrupted when the process above it is killed', async () => {
  const module = new URL('../dist/index.js', import.meta.url).href;
  const program = `
    require('node:fs').writeFileSync('pid', process.pid + '\\n');
    process.on('SIGINT', () => process.exit(0));
    setInterval(() => {}, 1000);`;
  const script = `
    const { spawnTethered } = await import(${JSON.stringify(module)});
    spawnTethered(process.execPath, ['-e', ${JSON.stringify(program)}], { cwd: ${JSON.stringify(folder)} });
    setInterval(() => {}, 1000);`;
  const parent = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'inherit' });
  await expect
    .poll(() => (existsSync(join(folder, 'pid')) ? readFileSync(join(folder, 'pid'), 'utf8') : ''), { timeout: 30_000 })
    .toMatch(/\d+\n/);
  const pid = Number(readFileSync(join(folder, 'pid'), 'utf8'));
  expect(isAlive(pid)).toBe(true);
  parent.kill('SIGKILL');
  await once(parent, 'exit');
  await expect.poll(() => isAlive(pid), { timeout: 10_000 }).toBe(false);
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}
