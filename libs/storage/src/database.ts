import pg from 'pg';
import { DataSource, type EntitySchema, type MigrationInterface } from 'typeorm';
import { clientClass, parseAddress } from './hosts.js';
import { LOCK_TABLE, takeLock } from './lock.js';
import { isConnectionFailure } from './unavailable.js';

type Class<T> = new () => T;

export interface DatabaseOptions {
  /** `postgres://user:password@host:port/database`, with several hosts separated by commas if wanted. */
  readonly url: string;
  /** The schema that the service owns; created when it does not exist, and first on the search path. */
  readonly schema: string;
  /** Shown in `pg_stat_activity`. */
  readonly applicationName: string;
  /** Connections held at most. */
  readonly poolSize: number;
  /** How long a caller waits for a free connection, in milliseconds. */
  readonly poolTimeoutMs: number;
  readonly migrations: readonly Class<MigrationInterface>[];
  /** How long a Postgres that cannot be reached yet, or that starts, is waited for; in milliseconds. Default: not at all. */
  readonly waitMs?: number;
  /** Told, now and then, why the start waits. */
  readonly onWait?: (error: Error) => void;
  readonly entities?: readonly (Class<object> | EntitySchema)[];
}

/** A Postgres that is busy gets this long to take the first connection, however short callers wait for theirs; in milliseconds. */
const CONNECT_MS_MIN = 5000;
/** Replicas that start together migrate one after another, each waiting this long at most; longer than any migration takes. */
const MIGRATION_WAIT = '10min';
const PREPARE_ATTEMPTS = 10;

/** No statement of a service runs longer, whatever becomes of its caller and of the cancellation; in milliseconds. */
const STATEMENT_MS_MAX = 60_000;
/** Nor waits longer for a lock, nor keeps locks without doing anything. */
const LOCK_MS_MAX = 30_000;
const IDLE_MS_MAX = 60_000;

/**
 * Connects, waiting for a Postgres that is not there yet, creates the schema and runs the migrations that are missing, under a lock of the schema.
 *
 * @throws the driver's error when the database cannot be reached or a migration fails; nothing of a failed migration stays
 */
export async function openDatabase(options: DatabaseOptions): Promise<DataSource> {
  if (!/^[a-z_]+$/.test(options.schema)) throw new TypeError(`not a schema name: ${options.schema}`);
  const address = parseAddress(options.url);
  if (address === undefined) throw new TypeError('not an address of Postgres');
  const Client = clientClass(address);
  const dataSource = new DataSource({
    type: 'postgres',
    url: address.url,
    schema: options.schema,
    applicationName: options.applicationName,
    poolSize: options.poolSize,
    entities: [...(options.entities ?? [])],
    migrations: [...options.migrations],
    migrationsTransactionMode: 'each',
    extra: {
      Client,
      connectionTimeoutMillis: options.poolTimeoutMs,
      idleTimeoutMillis: 60_000,
      keepAlive: true,
      options: [
        `-c search_path=${options.schema},public -c statement_timeout=${STATEMENT_MS_MAX}`,
        `-c lock_timeout=${LOCK_MS_MAX} -c idle_in_transaction_session_timeout=${IDLE_MS_MAX}`,
      ].join(' '),
    },
  });
  await patiently(options, () =>
    migrateAlone({ ...options, url: address.url }, Client, async () => {
      await dataSource.initialize();
      await dataSource.runMigrations();
    }).catch(async (error: unknown) => {
      if (dataSource.isInitialized) await dataSource.destroy();
      throw error;
    }),
  );
  return dataSource;
}

/** Creates the schema and runs `work` while no other process of ours migrates, over a connection that is not of the pool. */
async function migrateAlone(
  options: DatabaseOptions,
  Client: typeof pg.Client,
  work: () => Promise<void>,
): Promise<void> {
  const holder = new Client({
    connectionString: options.url,
    application_name: `${options.applicationName}-migrations`,
    options: `-c search_path=${options.schema}`,
    connectionTimeoutMillis: Math.max(options.poolTimeoutMs, CONNECT_MS_MIN),
  });
  await holder.connect();
  try {
    await prepareSchema(holder, options.schema);
    await holder.query('begin');
    await holder.query(`set local lock_timeout = '${MIGRATION_WAIT}'`);
    await takeLock(holder, 'migrations');
    await work();
    await holder.query('commit');
  } finally {
    await holder.end();
  }
}

/** How often a Postgres that is waited for is asked, and how often that is told; in milliseconds. */
const ASK_MS = 250;
const TELL_MS = 5000;
/** A wrong user, password or database. */
const MISTAKE = /^(28...|3D000)$/;
/** The driver's own error, which has no code. */
const CONNECT_TIMEOUT = /timeout (expired|exceeded)/;

/** Tries again what fails because Postgres cannot be reached yet, starts, or is not the one that takes changes. */
async function patiently<T>({ waitMs = 0, onWait }: DatabaseOptions, work: () => Promise<T>): Promise<T> {
  const until = performance.now() + waitMs;
  for (let told = -Infinity; ;) {
    try {
      return await work();
    } catch (error) {
      const now = performance.now();
      if (MISTAKE.test(String((error as { code?: unknown }).code))) throw error;
      const later = isConnectionFailure(error) || CONNECT_TIMEOUT.test((error as Error).message);
      if (!later) throw error;
      if (now >= until) throw waitMs > 0 ? notReached(waitMs, error) : error;
      if (now - told >= TELL_MS) {
        told = now;
        onWait?.(error as Error);
      }
      await new Promise((resolve) => setTimeout(resolve, ASK_MS));
    }
  }
}

function notReached(waitMs: number, cause: unknown): Error {
  return new Error(
    `Postgres could not be used within ${waitMs / 1000} s (DB_START_WAIT_SECONDS): it is not there, does not answer, or takes no changes`,
    { cause },
  );
}

/** `if not exists` looks before it makes, so of two at once one may fail; the second time it finds what the other made. */
async function prepareSchema(holder: pg.Client, schema: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await holder.query(`create schema if not exists ${schema}`);
      await holder.query(`create table if not exists ${schema}.${LOCK_TABLE} (name text primary key)`);
      return;
    } catch (error) {
      if (!MADE_BY_ANOTHER.has(String((error as { code?: unknown }).code)) || attempt === PREPARE_ATTEMPTS) throw error;
    }
  }
}

/** `unique_violation` of a catalog, `duplicate_schema`, `duplicate_table`, `duplicate_object`; `internal_error`: changed concurrently. */
const MADE_BY_ANOTHER: ReadonlySet<string> = new Set(['23505', '42P06', '42P07', '42710', 'XX000']);
