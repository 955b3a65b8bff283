import { spawnSync } from 'node:child_process';
import { chmodSync, closeSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isPortFree } from '@sluice/config';
import { freePort } from './free-port.js';
import { environmentOfMachine } from './needed-environment.js';
import { lastLines, openLogOrNone } from './log-file.js';
import { give, postgresAccount, type Account } from './postgres-account.js';
import { findBinaries, placeData, type Binaries } from './postgres-place.js';
import { ended, spawnTethered } from './tethered-process.js';

/** The superuser of every embedded cluster. */
export const SUPERUSER = 'postgres';

const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 20_000;
/** Attempts to start on a port of our own choice: another process can take it between the choice and the start. */
const PORT_ATTEMPTS = 5;

export interface PostgresOptions {
  /** The folder of the cluster; made by `initdb` when it is not there. Without the programs' rights to it, see `placeData`. */
  dataDir: string;
  /** The superuser's password: used by `initdb`, and in `url()`. */
  password: string;
  /** Where the server logs. */
  logFile: string;
  /** A fixed port; without it, a free one is chosen. */
  port?: number;
  /** A port to prefer when it is free. */
  preferredPort?: number;
  /** Server settings, e.g. `{ fsync: 'off' }` for tests. */
  settings?: Readonly<Record<string, string>>;
}

export interface EmbeddedPostgres {
  readonly host: '127.0.0.1';
  readonly port: number;
  readonly dataDir: string;
  /** The process id of the server. */
  readonly pid: number;
  /** Resolves when the server has ended, with a phrase that says how. */
  readonly ended: Promise<string>;
  url(database: string, user?: string, password?: string): string;
  /** Disconnects everyone and stops the server; sends SIGQUIT after 20 s. */
  stop(): Promise<void>;
}

/**
 * Starts the PostgreSQL that comes from npm on `dataDir`, listening on loopback alone. A server that an earlier, killed process left
 * behind on that folder is stopped first. The server stops when this process ends, however it ends.
 *
 * @throws with the last lines of the server's log when it does not start
 */
export async function startEmbeddedPostgres(options: PostgresOptions): Promise<EmbeddedPostgres> {
  const account = postgresAccount(options.dataDir);
  const binaries = findBinaries(account);
  const dataDir = placeData(options.dataDir, account);
  if (!existsSync(join(dataDir, 'PG_VERSION'))) createCluster(dataDir, options.password, binaries, account);
  await stopLeftover(dataDir);

  for (let attempt = 1; ; attempt++) {
    const port = options.port ?? (await choosePort(attempt === 1 ? options.preferredPort : undefined));
    try {
      return await startServer(dataDir, port, binaries, account, options);
    } catch (error) {
      const portTaken = /could not bind|Address already in use/.test(String(error));
      if (!portTaken || options.port !== undefined || attempt === PORT_ATTEMPTS) throw error;
    }
  }
}

async function choosePort(preferred: number | undefined): Promise<number> {
  if (preferred === undefined) return freePort();
  return (await isPortFree(preferred, '127.0.0.1')) ? preferred : freePort();
}

async function startServer(
  dataDir: string,
  port: number,
  binaries: Binaries,
  account: Account | undefined,
  options: PostgresOptions,
): Promise<EmbeddedPostgres> {
  const settings = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: '200',
    // The details and the statements of errors hold what users sent: addresses, and secrets where a statement has no parameters.
    log_error_verbosity: 'terse',
    log_min_error_statement: 'panic',
    ...options.settings,
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  // A killed server leaves its lock file behind, with the state that it had.
  const stale = readPostmaster(dataDir)?.identity;
  // Without a log it works as well.
  const output = openLogOrNone(options.logFile, () => undefined);
  const child = spawnTethered(binaries.postgres, ['-D', dataDir, '-p', String(port), ...flags], {
    cwd: dataDir,
    output,
    env: environmentOfMachine(process.env),
    ...account,
  });
  if (output !== 'ignore') closeSync(output);
  const end = ended(child);
  let outcome: string | undefined;
  void end.then((how) => (outcome = how));

  const deadline = Date.now() + START_TIMEOUT_MS;
  let server = readPostmaster(dataDir);
  while (server?.state !== 'ready' || server.port !== port || server.identity === stale) {
    if (outcome !== undefined || Date.now() > deadline) {
      child.kill('SIGTERM');
      const what = outcome ?? `was not ready after ${START_TIMEOUT_MS / 1000} s`;
      throw new Error(`Postgres ${what}:\n${lastLines(options.logFile, 8)}`);
    }
    await delay(15);
    server = readPostmaster(dataDir);
  }
  const { pid } = server;

  return {
    host: '127.0.0.1',
    port,
    dataDir,
    pid,
    ended: end,
    url: (database, user = SUPERUSER, password = options.password) =>
      `postgres://${encodeURIComponent(user)}:${encodeURIComponent(password)}@127.0.0.1:${port}/${encodeURIComponent(database)}`,
    async stop() {
      child.kill('SIGINT');
      const force = setTimeout(() => process.kill(pid, 'SIGQUIT'), STOP_TIMEOUT_MS);
      await end;
      clearTimeout(force);
      child.stdio[3]?.destroy();
    },
  };
}

/** `initdb` into a folder beside `dataDir` that takes its name when complete: an interrupted run leaves nothing half-made behind. */
function createCluster(dataDir: string, password: string, binaries: Binaries, account: Account | undefined): void {
  const unfinished = `${dataDir}.unfinished`;
  const passwordFile = join(unfinished, 'password');
  const cluster = join(unfinished, 'cluster');
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(cluster, { recursive: true, mode: 0o700 });
  chmodSync(unfinished, 0o700);
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 });
  for (const path of [unfinished, cluster, passwordFile]) give(path, account);
  const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'];
  const result = spawnSync(
    binaries.initdb,
    [
      `--pgdata=${cluster}`,
      `--username=${SUPERUSER}`,
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--no-sync',
      ...locale,
    ],
    { cwd: unfinished, encoding: 'utf8', env: { ...environmentOfMachine(process.env), LC_ALL: 'C' }, ...account },
  );
  if (result.status !== 0) {
    rmSync(unfinished, { recursive: true, force: true });
    throw new Error(`initdb failed: ${(result.error?.message ?? result.stderr).trim()}`);
  }
  renameSync(cluster, dataDir);
  rmSync(unfinished, { recursive: true, force: true });
}

/** Stops a server that still runs on the folder, because the process that started it was killed. */
async function stopLeftover(dataDir: string): Promise<void> {
  const server = readPostmaster(dataDir);
  if (server === undefined || !isPostgresOf(server.pid, dataDir)) return;
  process.kill(server.pid, 'SIGINT');
  const deadline = Date.now() + STOP_TIMEOUT_MS;
  while (isPostgresOf(server.pid, dataDir)) {
    if (Date.now() > deadline) process.kill(server.pid, 'SIGQUIT');
    await delay(20);
  }
}

interface Postmaster {
  pid: number;
  port: number;
  state: string;
  /** The process id and the time of the start: no two servers have the same. */
  identity: string;
}

/** The lock file of a running server: process id, folder, start, port, socket folder, address, shared memory, state; a line each. */
function readPostmaster(dataDir: string): Postmaster | undefined {
  let lines: string[];
  try {
    lines = readFileSync(join(dataDir, 'postmaster.pid'), 'utf8').split('\n');
  } catch {
    return undefined;
  }
  const pid = Number(lines[0]);
  if (!(pid > 0)) return undefined;
  return { pid, port: Number(lines[3]), state: lines[7]?.trim() ?? '', identity: `${pid} ${lines[2]}` };
}

/** A process id may have been given to another program since. Without /proc, a living process counts as ours. */
function isPostgresOf(pid: number, dataDir: string): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
  }
  if (!existsSync('/proc/self/cmdline')) return true;
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(dataDir);
  } catch {
    return false;
  }
}
