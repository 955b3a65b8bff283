import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { misspeltSettings, namedByConfiguration, unreadSettings } from '@sluice/config';
import { startDatabase, type DatabaseProcess } from './database-process.js';
import { freePort } from './free-port.js';
import { boundLogs } from './log-file.js';
import { describeTakenPorts, type Environment, type PlannedPort, takenText } from '../ports.mjs';
import { PROCESSES, type ProcessSpec } from '../process-table.mjs';
import { neededEnvironment } from './needed-environment.js';
import { plan, PlanError, type Plan } from './plan.js';
import { sharedBuffers } from './postgres-memory.js';
import { USUAL_RESTARTS, type RestartLimits } from './restart-policy.js';
import { openSecretFiles, type SecretFiles } from './secret-files.js';
import { rootSecret, serviceSecrets } from './service-secrets.js';
import { manage, stopInOrder, type ManagedProcess, type Supervision } from './supervisor.js';

/**
 * How much log the embedded Postgres writes between checkpoints at most: after each, the first change of a page writes all of the
 * page. The usual 1 GB is full of such pages after a few seconds of changes that are spread over a large index.
 */
const MAX_WAL_SIZE = '4GB';
/** How often the logs are looked at. */
const WATCH_LOGS_MS = 60_000;

export interface SystemOptions {
  /** The repository: its apps are built, and it is the working folder of every process. */
  root: string;
  /** Data, secrets and run files: `.sluice` for `npm start`. */
  stateDir: string;
  logFolder: string;
  /** What the processes see of the environment, and where the settings of the start are read from. */
  environment: Environment;
  /** How many of each process; 1 where not named. */
  replicas?: Readonly<Record<string, number>>;
  postgresSettings?: Readonly<Record<string, string>>;
  restarts?: RestartLimits;
  readyTimeoutMs?: number;
  /** What is being done now: a thing and its state. */
  progress?(thing: string, state: string): void;
  /** Deaths and restarts. */
  report(message: string): void;
  /** Something could not be kept alive; the owner of the system is expected to stop it. */
  onGivenUp?(name: string): void;
  /** Interrupts the start; what was started is stopped, and the promise is rejected with the reason. */
  signal?: AbortSignal;
}

/** A running Sluice. */
export interface System {
  readonly plan: Plan;
  readonly processes: readonly ManagedProcess[];
  /** The embedded Postgres; undefined when every service was given a database by the environment. */
  readonly database: DatabaseProcess | undefined;
  /** Stops the processes, then Postgres. */
  stop(): Promise<void>;
}

/**
 * Starts Postgres and every process of the table, and waits until each is ready. This is what `npm start` and the end-to-end tests run.
 *
 * @throws PlanError when a port is taken or a setting of the start is wrong, before anything is started;
 *   an Error with the last log lines when something does not start, after everything else was stopped
 */
export async function startSystem(given: SystemOptions): Promise<System> {
  const options = { ...given, environment: readEnvironment(given) };
  const planned = await plan(PROCESSES, options.environment, options.replicas ?? {}, freePort);
  const embedded = PROCESSES.filter(
    ({ database }) => database && !isSet(options.environment, database.setting, 'DATABASE_URL'),
  );
  const postgresPort = embedded.length > 0 ? fixedPostgresPort(options.environment) : undefined;
  const own = { shared_buffers: sharedBuffers(options.environment), max_wal_size: MAX_WAL_SIZE };
  await refuseTakenPorts(planned, postgresPort, options);

  mkdirSync(join(options.stateDir, 'run'), { recursive: true });
  const secrets = openSecretFiles(join(options.stateDir, 'secrets'));
  const root = rootSecret(options.environment, secrets);
  const supervision: Supervision = {
    root: options.root,
    logFolder: options.logFolder,
    readyTimeoutMs: options.readyTimeoutMs ?? 60_000,
    // The processes bound their own drain; this is for one that hangs.
    stopTimeoutMs:
      (Number(options.environment.SHUTDOWN_GRACE_SECONDS || 10) +
        Number(options.environment.SHUTDOWN_DELAY_SECONDS || 0)) *
        1_000 +
      5_000,
    restarts: options.restarts ?? USUAL_RESTARTS,
    report: options.report,
    onGivenUp: options.onGivenUp ?? (() => {}),
  };

  const postgresLog = join(options.logFolder, 'postgres/postgres-service.log');
  let database: DatabaseProcess | undefined;
  let processes: ManagedProcess[] = [];
  let watchLogs: NodeJS.Timeout | undefined;
  const stop = async () => {
    clearInterval(watchLogs);
    await stopInOrder(processes);
    await database?.stop();
  };
  try {
    if (embedded.length > 0) {
      options.progress?.('postgres', 'starting');
      database = await startDatabase(embedded, secrets, {
        stateDir: options.stateDir,
        logFile: postgresLog,
        port: postgresPort?.port,
        settings: { ...own, ...options.postgresSettings },
        ...supervision,
      });
      options.progress?.('postgres', `ready on port ${database.server.port}`);
      options.signal?.throwIfAborted();
    }
    processes = planned.instances.map((instance) =>
      manage(instance, environmentOf(instance.spec, planned, secrets, database, root, options), supervision),
    );
    for (const process of processes) {
      options.progress?.(process.name, 'starting');
      process.start();
    }
    await Promise.race([
      Promise.all(
        processes.map(async (process) => {
          await process.ready();
          options.progress?.(process.name, `ready on port ${process.instance.ports[0]!.port}`);
        }),
      ),
      aborted(options.signal),
    ]);
  } catch (error) {
    await stop();
    throw error;
  }
  const logs = [...processes.map(({ logFile }) => logFile), ...(database ? [postgresLog] : [])];
  watchLogs = setInterval(() => void boundLogs(logs).then((faults) => faults.forEach(options.report)), WATCH_LOGS_MS);
  watchLogs.unref();
  return { plan: planned, processes, database, stop };
}

/**
 * The environment without variables that look like settings and that nothing reads: those are reported, once for all processes.
 *
 * @throws PlanError for variables that can only be misspelt settings
 */
function readEnvironment({ environment, root, report }: SystemOptions): Environment {
  const named = namedByConfiguration(environment, root);
  const faults = misspeltSettings(environment, named);
  if (faults.length > 0) throw new PlanError(faults.join('\n'));
  const unread = unreadSettings(environment, named);
  for (const [name, why] of unread) report(`${name} is set, and ${why}`);
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !unread.has(name)));
}

/** The environment of one process: ours, what the user set for it, and the paths of the secrets that the user did not set. */
function environmentOf(
  spec: ProcessSpec,
  { shared, gatewayUrl }: Plan,
  secrets: SecretFiles,
  database: DatabaseProcess | undefined,
  root: string,
  { environment, root: folder, stateDir }: SystemOptions,
): NodeJS.ProcessEnv {
  const generated: Record<string, string> = {};
  for (const name of spec.secrets) {
    if (!isSet(environment, name)) generated[`${name}_FILE`] = secrets.path(fileName(name));
  }
  for (const [name, value] of Object.entries(serviceSecrets(spec, root))) {
    generated[`${name}_FILE`] = secrets.store(`${spec.name}-${fileName(name)}`, value);
  }
  if (spec.database && database && !isSet(environment, spec.database.setting, 'DATABASE_URL')) {
    const { setting } = spec.database;
    generated[`${setting}_FILE`] = secrets.store(fileName(setting), database.urlFor(spec));
  } else if (spec.database && environment.DATABASE_URL_FILE && !isSet(environment, spec.database.setting)) {
    generated[`${spec.database.setting}_FILE`] = environment.DATABASE_URL_FILE;
  }
  // Nobody sends these processes calls but each other, and they are stopped in order.
  const SHUTDOWN_DELAY_SECONDS = environment.SHUTDOWN_DELAY_SECONDS || '0';
  const needed = neededEnvironment(spec, environment, folder);
  // Without a server, mails are files, where nobody has said that this is production.
  if (spec.name === 'user' && !isSet(environment, 'SMTP_URL', 'MAIL_FOLDER') && environment.NODE_ENV !== 'production') {
    generated['MAIL_FOLDER'] = join(stateDir, 'mail');
  }
  // The gateway of this start serves the page, on whatever port it is.
  if (spec.name === 'user' && !isSet(environment, 'MAIL_LINK_URL', 'TOKEN_ISSUER')) {
    generated['MAIL_LINK_URL'] = `${gatewayUrl}/account/{action}#{token}`;
  }
  return { NODE_ENV: 'production', ...needed, SHUTDOWN_DELAY_SECONDS, ...shared, ...generated };
}

function fileName(setting: string): string {
  return setting.toLowerCase().replaceAll('_', '-');
}

/** Whether one of the settings is given, directly or as a file. */
function isSet(environment: Environment, ...settings: readonly string[]): boolean {
  return settings.some((setting) => environment[setting] || environment[`${setting}_FILE`]);
}

function fixedPostgresPort(environment: Environment): PlannedPort | undefined {
  const text = environment.POSTGRES_PORT;
  if (!text) return undefined;
  const port = Number(text);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new PlanError(`POSTGRES_PORT="${text}": expected a whole number from 1 to 65535`);
  }
  return { setting: 'POSTGRES_PORT', host: '127.0.0.1', port };
}

/** How long a port is waited for that an outgoing connection happened to be given: Linux keeps it for 60 s after its end. */
const PASSING_MS = 65_000;
const LOOK_MS = 500;

async function refuseTakenPorts(
  { instances }: Plan,
  postgres: PlannedPort | undefined,
  options: SystemOptions,
): Promise<void> {
  const ports = [...instances.flatMap((instance) => instance.ports), ...(postgres ? [postgres] : [])];
  const until = performance.now() + PASSING_MS;
  let taken = await describeTakenPorts(ports);
  const passing = () => taken.length > 0 && taken.every((port) => port.passing);
  if (passing())
    options.report(`${taken.map(({ line }) => line).join('\n')}; waiting until it has ended, a minute at most`);
  while (passing() && performance.now() < until) {
    await sleep(LOOK_MS);
    options.signal?.throwIfAborted();
    taken = await describeTakenPorts(ports);
  }
  if (taken.length === 0) return;
  throw new PlanError(takenText(taken));
}

function aborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
}
