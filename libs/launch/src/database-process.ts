import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { prepareDatabase } from './database.js';
import { startEmbeddedPostgres, type EmbeddedPostgres } from './embedded-postgres.js';
import type { ProcessSpec } from '../process-table.mjs';
import { restartPolicy, type RestartLimits } from './restart-policy.js';
import type { SecretFiles } from './secret-files.js';

/** The database that all services share, each in a schema of its own. */
const DATABASE = 'sluice';

export interface DatabaseProcessOptions {
  /** `.sluice` or a test's own folder: the cluster lies in `postgres`, its port is remembered in `run`. */
  stateDir: string;
  logFile: string;
  /** A port fixed by the user. */
  port?: number;
  settings?: Readonly<Record<string, string>>;
  restarts: RestartLimits;
  report(message: string): void;
  onGivenUp(name: string): void;
}

/** The embedded Postgres of a system: kept alive, with a role and a schema for each service. */
export interface DatabaseProcess {
  readonly server: EmbeddedPostgres;
  /** The address of a process's own corner. */
  urlFor(spec: ProcessSpec): string;
  /** The superuser's view of the same database. */
  readonly adminUrl: string;
  stop(): Promise<void>;
}

export async function startDatabase(
  owners: readonly ProcessSpec[],
  secrets: SecretFiles,
  options: DatabaseProcessOptions,
): Promise<DatabaseProcess> {
  const portFile = join(options.stateDir, 'run/postgres-port');
  const password = (spec: ProcessSpec) => secrets.value(`postgres-${spec.name}-password`);
  const launch = (port: number | undefined) =>
    startEmbeddedPostgres({
      dataDir: join(options.stateDir, 'postgres'),
      password: secrets.value('postgres-password'),
      logFile: options.logFile,
      port,
      preferredPort: existsSync(portFile) ? Number(readFileSync(portFile, 'utf8')) : undefined,
      settings: options.settings,
    });

  let server = await launch(options.port);
  let wanted = true;
  const nextDelay = restartPolicy(options.restarts);
  try {
    writeFileSync(portFile, String(server.port));
    await prepareDatabase(
      server,
      DATABASE,
      owners.flatMap((spec) => (spec.database ? [{ ...spec.database, password: password(spec) }] : [])),
    );
  } catch (error) {
    await server.stop();
    throw error;
  }
  watch();

  function watch(): void {
    void server.ended.then(async (how) => {
      if (!wanted) return;
      const wait = nextDelay();
      if (wait === undefined) {
        options.report(`Postgres ${how} again and is given up; its log is ${options.logFile}`);
        options.onGivenUp('postgres');
        return;
      }
      options.report(`Postgres ${how}; it starts again in ${wait / 1000} s, its log is ${options.logFile}`);
      await delay(wait);
      if (!wanted) return;
      try {
        server = await launch(server.port);
        options.report('Postgres is ready again');
        watch();
      } catch (error) {
        options.report(`Postgres does not start again: ${(error as Error).message}`);
        options.onGivenUp('postgres');
      }
    });
  }

  return {
    get server() {
      return server;
    },
    get adminUrl() {
      return server.url(DATABASE);
    },
    urlFor: (spec) => server.url(DATABASE, spec.database!.role, password(spec)),
    async stop() {
      wanted = false;
      await server.stop();
    },
  };
}
