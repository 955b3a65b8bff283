import pg from 'pg';

/** A Postgres that we are superuser of. */
export interface PostgresAddress {
  url(database: string, user?: string, password?: string): string;
}

/** A service's own corner of the database: a role that owns one schema and sees nothing of the others. */
export interface SchemaOwner {
  role: string;
  schema: string;
  password: string;
}

/** Left to operators, exporters and backups. */
const RESERVED_CONNECTIONS = 10;

/**
 * Makes `database` with a role and a schema per owner where they are missing, and sets the roles' passwords. Each role gets an equal
 * share of the connections that Postgres takes, so that none can keep the others out. Safe to repeat.
 */
export async function prepareDatabase(
  server: PostgresAddress,
  database: string,
  owners: readonly SchemaOwner[],
): Promise<void> {
  await withClient(server.url('postgres'), async (client) => {
    const { rowCount } = await client.query('select 1 from pg_database where datname = $1', [database]);
    if (rowCount === 0) await client.query(`create database ${pg.escapeIdentifier(database)}`);
  });
  await withClient(server.url(database), async (client) => {
    const { rows } = await client.query<{ max: number }>(`select current_setting('max_connections')::int as max`);
    const connections = Math.max(1, Math.floor((rows[0]!.max - RESERVED_CONNECTIONS) / owners.length));
    for (const owner of owners) {
      const role = pg.escapeIdentifier(owner.role);
      const schema = pg.escapeIdentifier(owner.schema);
      const { rowCount } = await client.query('select 1 from pg_roles where rolname = $1', [owner.role]);
      if (rowCount === 0) await client.query(`create role ${role} login`);
      await client.query(
        `alter role ${role} connection limit ${connections} password ${pg.escapeLiteral(owner.password)}`,
      );
      await client.query(`alter role ${role} set search_path to ${schema}`);
      // `create schema if not exists`, which a service runs before it migrates, asks for this right even when the schema is there.
      await client.query(`grant create on database ${pg.escapeIdentifier(database)} to ${role}`);
      await client.query(`create schema if not exists ${schema} authorization ${role}`);
    }
  });
}

/** Runs `work` with a connection that is closed afterwards. */
export async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
