import type { DataSource } from 'typeorm';
import { newClient } from './connection.js';
import { requireWritable } from './hosts.js';
import { LOCK_TABLE } from './lock.js';
import { trouble } from './unavailable.js';

const PROBE_MS = 2000;

/**
 * Whether the database could serve this process now, asked over a connection of its own: a server that shuts down goes on serving old
 * connections and refuses new ones. After it refused a change for want of room, or had no tables, a change is tried.
 *
 * @throws Error that says what is missing
 */
export async function probe(dataSource: DataSource): Promise<void> {
  const client = newClient(dataSource, PROBE_MS);
  client.on('error', () => undefined);
  try {
    await client.connect();
    await requireWritable(client);
    await client.query(`select from ${LOCK_TABLE} limit 1`);
    if (!trouble.noted) return;
    await client.query('begin');
    // 1 MB, each page of which is asked of the disk at once.
    await client.query(
      `create temporary table room on commit drop as select repeat('-', 1000) as filler from generate_series(1, 1000)`,
    );
    await client.query('commit');
    trouble.over();
  } finally {
    await client.end().catch(() => undefined);
  }
}
