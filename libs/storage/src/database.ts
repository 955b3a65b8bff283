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
      options: `-c search_path=${options.schema},public`,
    },
  });
  await dataSource.initialize();
  try {
    await migrate(dataSource, options.schema);
    return dataSource;
  } catch (error) {
    await dataSource.destroy();
    throw error;
  }
}

async function migrate(dataSource: DataSource, schema: string): Promise<void> {
  const holder = dataSource.createQueryRunner();
  await holder.connect();
  try {
    await holder.query('select pg_advisory_lock($1)', [MIGRATION_LOCK]);
    await holder.query(`create schema if not exists ${schema}`);
    await dataSource.runMigrations();
  } finally {
    await holder.query('select pg_advisory_unlock($1)', [MIGRATION_LOCK]).catch(() => undefined);
    await holder.release();
  }
}
