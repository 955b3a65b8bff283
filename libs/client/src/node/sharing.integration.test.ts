import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { build } from 'vite';
import { startGateway, type TestGateway } from '../gateway.fixture.js';
import { createClient, fileLock, fileStore } from '../index.js';

let work: string;
let program: string;
let folder: string;
let gateway: TestGateway;

// The program as a user would ship it: one file, without this repository around it.
beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), 'sluice-client-'));
  program = join(work, 'program.mjs');
  const here = fileURLToPath(new URL('.', import.meta.url));
  await build({
    root: here,
    configFile: false,
    logLevel: 'silent',
    resolve: { conditions: ['sluice-source'] },
    ssr: { noExternal: true, resolve: { conditions: ['sluice-source'] } },
    build: {
      ssr: join(here, 'sharing.fixture.ts'),
      outDir: work,
      emptyOutDir: false,
      rollupOptions: { output: { entryFileNames: 'program.mjs' } },
    },
  });
  return () => rmSync(work, { recursive: true, force: true });
});
beforeEach(async () => {
  folder = join(mkdtempSync(join(work, 'store-')), 'made by the client');
  gateway = await startGateway();
});
afterEach(() => gateway.close());

interface Runner {
  readonly process: ChildProcess;
  go(): void;
  readonly statuses: Promise<number[]>;
}

async function start(calls: number, guest = ''): Promise<Runner> {
  const child = spawn(process.execPath, [program, gateway.baseUrl, folder, String(calls), guest], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout });
  await once(lines, 'line');
  return {
    process: child,
    go: () => void child.stdin.write('go\n'),
    statuses: once(lines, 'line').then(([line]) => JSON.parse(line as string) as number[]),
  };
}

async function runTogether(count: number, calls: number, guest = ''): Promise<number[]> {
  const runners = await Promise.all(Array.from({ length: count }, () => start(calls, guest)));
  for (const runner of runners) runner.go();
  return (await Promise.all(runners.map(({ statuses }) => statuses))).flat();
}

describe('several processes on one folder', () => {
  test('refresh once for all', async () => {
    await createClient({ baseUrl: gateway.baseUrl, store: fileStore(folder) }).setSession(gateway.open());
    gateway.expireAll();
    expect(await runTogether(4, 10)).toEqual(Array(40).fill(200));
    expect(gateway.count('POST /auth/refresh')).toBe(1);
  });

  test('get one guest token', async () => {
    expect(await runTogether(4, 10, 'guest')).toEqual(Array(40).fill(200));
    expect(gateway.count('POST /auth/guest')).toBe(1);
  });

  test('a process killed while it refreshes does not hold the others up', async () => {
    await createClient({ baseUrl: gateway.baseUrl, store: fileStore(folder) }).setSession(gateway.open());
    gateway.expireAll();
    const asked = new Promise<void>((resolve) => {
      gateway.answer('POST /auth/refresh', () => {
        gateway.answer('POST /auth/refresh', undefined);
        resolve();
      });
    });
    const doomed = await start(1);
    doomed.statuses.catch(() => undefined);
    doomed.go();
    await asked;
    doomed.process.kill('SIGKILL');
    await once(doomed.process, 'exit');
    expect(await runTogether(2, 5)).toEqual(Array(10).fill(200));
    expect(gateway.count('POST /auth/refresh')).toBe(2);
  });
});

test('files are their owner’s alone, and no draft is left', async () => {
  const store = fileStore(folder);
  await Promise.all(Array.from({ length: 20 }, async (_, i) => store.set('session', `text ${i}`)));
  expect(await store.get('session')).toMatch(/^text \d+$/);
  expect(readdirSync(folder)).toEqual(['session.json']);
  expect(statSync(join(folder, 'session.json')).mode & 0o777).toBe(0o600);
  expect(statSync(folder).mode & 0o777).toBe(0o700);
  await store.delete('session');
  expect(await store.get('session')).toBeUndefined();
});

describe('the file lock', () => {
  test('lets one task run at a time, also of several lock objects', async () => {
    const locks = [fileLock(folder), fileLock(folder), fileLock(folder)];
    let running = 0;
    let most = 0;
    await Promise.all(
      Array.from({ length: 12 }, (_, i) =>
        locks[i % 3]?.run('n', async () => {
          most = Math.max(most, ++running);
          await new Promise((resolve) => setImmediate(resolve));
          running--;
        }),
      ),
    );
    expect(most).toBe(1);
    expect(readdirSync(folder)).toEqual([]);
  });

  test('is taken over from a process that is dead, and from a file nobody has touched for long', async () => {
    await fileLock(folder).run('made', async () => undefined);
    const path = join(folder, 'n.lock');
    const dead = spawn(process.execPath, ['--version'], { stdio: 'ignore' });
    await once(dead, 'exit');
    writeFileSync(path, `${dead.pid} ${hostname()} x`);
    expect(await fileLock(folder).run('n', async () => 'dead')).toBe('dead');
    writeFileSync(path, '1 another-host x');
    utimesSync(path, new Date(0), new Date(0));
    expect(await fileLock(folder).run('n', async () => 'untouched')).toBe('untouched');
  });

  test('whoever waits can leave', async () => {
    await fileLock(folder).run('made', async () => undefined);
    writeFileSync(join(folder, 'n.lock'), `${process.pid} ${hostname()} x`);
    const waiting = fileLock(folder).run('n', async () => 'never', AbortSignal.timeout(50));
    await expect(waiting).rejects.toMatchObject({ name: 'TimeoutError' });
  });
});
