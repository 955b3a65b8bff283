import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbeddedPostgres, withClient, type EmbeddedPostgres } from '@sluice/launch';

/** Tests need no durability: nothing survives them. */
export const TEST_SETTINGS = {
  fsync: 'off',
  full_page_writes: 'off',
  synchronous_commit: 'off',
  shared_buffers: '32MB',
};

/** A database of a test's own. */
export interface TestPostgres {
  /** Connects as the superuser. */
  readonly url: string;
  readonly database: string;
  readonly server: EmbeddedPostgres;
  /** Drops the database; the last one of a test file stops the server and removes its folder. */
  stop(): Promise<void>;
}

interface SharedServer {
  starting: Promise<EmbeddedPostgres>;
  folder: string;
  users: number;
}

let shared: SharedServer | undefined;

/**
 * A fresh, empty database on a real Postgres. Calls within one test file share a server; it starts with the first.
 *
 * @param settings server settings for a server that is not shared, e.g. `{ max_connections: '10' }`
 */
export async function startPostgres(settings?: Readonly<Record<string, string>>): Promise<TestPostgres> {
  const own = settings === undefined ? (shared ??= startServer({})) : startServer(settings);
  own.users++;
  const server = await own.starting;
  const database = `test_${randomBytes(6).toString('hex')}`;
  await withClient(server.url('postgres'), (client) => client.query(`create database ${database}`));
  let stopped = false;
  return {
    url: server.url(database),
    database,
    server,
    async stop() {
      if (stopped) return;
      stopped = true;
      own.users--;
      if (own.users > 0) {
        await withClient(server.url('postgres'), (client) => client.query(`drop database ${database} with (force)`));
        return;
      }
      if (shared === own) shared = undefined;
      await server.stop();
      removeServer(own.folder);
    },
  };
}

function startServer(settings: Readonly<Record<string, string>>): SharedServer {
  const folder = openFolder('sluice-postgres-');
  const starting = startEmbeddedPostgres({
    dataDir: join(folder, 'data'),
    password: randomBytes(12).toString('hex'),
    logFile: join(folder, 'postgres.log'),
    settings: { ...TEST_SETTINGS, ...settings },
  });
  return { starting, folder, users: 0 };
}

function removeServer(folder: string): void {
  removeData(join(folder, 'data'));
  rmSync(folder, { recursive: true, force: true });
}

/** A temporary folder that also the account of Postgres can enter, when this process is root. */
export function openFolder(prefix: string): string {
  const folder = mkdtempSync(join(tmpdir(), prefix));
  chmodSync(folder, 0o755);
  return folder;
}

/** Removes a cluster; for root it may lie elsewhere, behind a link. */
export function removeData(dataDir: string): void {
  if (existsSync(dataDir)) rmSync(realpathSync(dataDir), { recursive: true, force: true });
}
