import pg from 'pg';
import { DataSource, type EntitySchema, type MigrationInterface } from 'typeorm';

type Class<T> = new () => T;

export interface DatabaseOptions {
  /** `postgres://user:password@host:port/database`. */
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
  readonly entities?: readonly (Class<object> | EntitySchema)[];
}

/** One number for the whole project, so that replicas that start together migrate one after another. */
const MIGRATION_LOCK = 7_226_301;

/** No statement of a service runs longer, whatever becomes of its caller and of the cancellation; in milliseconds. */
const STATEMENT_MS_MAX = 60_000;

/**
 * Connects, creates the schema and runs the migrations that are missing, under an advisory lock.
 *
 * @throws the driver's error when the database cannot be reached or a migration fails; nothing of a failed migration stays
 */
export async function openDatabase(options: DatabaseOptions): Promise<DataSource> {
  if (!/^[a-z_]+$/.test(options.schema)) throw new TypeError(`not a schema name: ${options.schema}`);
  const dataSource = new DataSource({
    type: 'postgres',
    url: options.url,
    schema: options.schema,
    applicationName: options.applicationName,
    poolSize: options.poolSize,
    entities: [...(options.entities ?? [])],
    migrations: [...options.migrations],
    migrationsTransactionMode: 'each',
    extra: {
      connectionTimeoutMillis: options.poolTimeoutMs,
      idleTimeoutMillis: 60_000,
      keepAlive: true,
      options: `-c search_path=${options.schema},public -c statement_timeout=${STATEMENT_MS_MAX}`,
    },
  });
  await migrateAlone(options, async () => {
    await dataSource.initialize();
    await dataSource.runMigrations();
  }).catch(async (error: unknown) => {
    if (dataSource.isInitialized) await dataSource.destroy();
    throw error;
  });
  return dataSource;
}

/** Creates the schema and runs `work` while no other process of ours migrates, over a connection that is not of the pool. */
async function migrateAlone(options: DatabaseOptions, work: () => Promise<void>): Promise<void> {
  const holder = new pg.Client({
    connectionString: options.url,
    application_name: `${options.applicationName}-migrations`,
    connectionTimeoutMillis: options.poolTimeoutMs,
  });
  await holder.connect();
  try {
    await holder.query('select pg_advisory_lock($1)', [MIGRATION_LOCK]);
    await holder.query(`create schema if not exists ${options.schema}`);
    await work();
  } finally {
    await holder.end();
  }
}
