import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  freePort,
  PROCESSES,
  startSystem as launch,
  type ManagedProcess,
  type RestartLimits,
  type System,
} from '@sluice/launch';
import pg from 'pg';
import { leaksIn } from './log-scan.js';
import { openFolder, removeData, TEST_SETTINGS } from './postgres.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
/** Faster than for users: a test waits for the restart. Tests kill often, so none is given up early. */
const TEST_RESTARTS: RestartLimits = { delaysMs: Array.from({ length: 100 }, () => 100), windowMs: 60_000 };

export interface TestSystemOptions {
  /** Settings on top of the defaults, e.g. `{ NODES: 'a', NODE_BUDGET: '500' }`. */
  env?: Readonly<Record<string, string>>;
  /** How many of each process, e.g. `{ allocator: 2 }`. */
  replicas?: Readonly<Record<string, number>>;
  restarts?: RestartLimits;
  /** Whether Postgres writes through to the disk; off by default, on for tests that kill it. */
  durable?: boolean;
}

/** The whole of Sluice, started by the code that `npm start` uses, on ports and a database of its own. */
export interface TestSystem {
  /** The gateway, e.g. `http://127.0.0.1:40123`. */
  readonly baseUrl: string;
  readonly system: System;
  /** The process of this name (`user`, `allocator-2`): `pid`, `kill(signal)` (it is started again), `ready()`, `stop()`, `start()`. */
  process(name: string): ManagedProcess;
  /** Stops a process in order and starts it again; resolves when it is ready. */
  restart(name: string): Promise<void>;
  /** Everything the process has logged. */
  log(name: string): string;
  /** What died and what was started again, as `npm start` would report it. */
  readonly reports: readonly string[];
  /** Runs a query as the superuser on the database of the services. */
  query<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>;
  /** @throws Error when a log shows a secret that the tests have used or the system has made */
  stop(): Promise<void>;
}

/**
 * Starts the built apps: run `tsc -b` before. Resolves when all are ready.
 *
 * @throws with the last log lines of what does not start
 */
export async function startSystem(options: TestSystemOptions = {}): Promise<TestSystem> {
  const folder = openFolder('sluice-system-');
  const logFolder = join(folder, 'logs');
  const reports: string[] = [];
  let system: System;
  try {
    system = await launch({
      root: ROOT,
      stateDir: join(folder, 'state'),
      logFolder,
      environment: { ...(await ownPorts()), PATH: process.env.PATH, HOME: process.env.HOME, ...options.env },
      replicas: options.replicas,
      postgresSettings: options.durable ? { shared_buffers: '32MB' } : TEST_SETTINGS,
      restarts: options.restarts ?? TEST_RESTARTS,
      report: (message) => reports.push(message),
    });
  } catch (error) {
    removeAll(folder);
    throw error;
  }
  const pool = new pg.Pool({ connectionString: system.database?.adminUrl ?? options.env?.DATABASE_URL, max: 2 });
  // A test may kill the server under idle connections; queries tell of it themselves.
  pool.on('error', () => {});

  const find = (name: string): ManagedProcess => {
    const found = system.processes.find((process) => process.name === name);
    if (found === undefined) throw new Error(`there is no process ${name}`);
    return found;
  };
  return {
    baseUrl: system.plan.gatewayUrl,
    system,
    reports,
    process: find,
    async restart(name) {
      await find(name).stop();
      find(name).start();
      await find(name).ready();
    },
    log: (name) => readFileSync(find(name).logFile, 'utf8'),
    query: async (text, values) => (await pool.query(text, values)).rows,
    async stop() {
      await pool.end();
      await system.stop();
      const leaks = leaksIn(logFolder, installationSecrets(join(folder, 'state')));
      removeAll(folder);
      if (leaks.length > 0) throw new Error(`secrets in the logs:\n${leaks.join('\n')}`);
    },
  };
}

/** Whole database addresses hold user names and ports, which are none. */
function installationSecrets(stateDir: string): string[] {
  const folder = join(stateDir, 'secrets');
  return readdirSync(folder)
    .map((name) => readFileSync(join(folder, name), 'utf8').trim())
    .flatMap((text) => (URL.canParse(text) ? [new URL(text).password] : [text]))
    .filter((secret) => secret.length > 0);
}

function removeAll(folder: string): void {
  removeData(join(folder, 'state/postgres'));
  rmSync(folder, { recursive: true, force: true });
}

/** A free port for every port setting of the table. */
async function ownPorts(): Promise<Record<string, string>> {
  const settings = PROCESSES.flatMap(({ port, adminPort, optionalPort }) => [port, adminPort, optionalPort])
    .filter((port) => port !== undefined)
    .map(({ setting }) => setting);
  const ports = await Promise.all(settings.map(() => freePort()));
  return Object.fromEntries(settings.map((setting, index) => [setting, String(ports[index])]));
}
