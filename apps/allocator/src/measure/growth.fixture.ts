/** What a call costs when there is little history and when there is much. */
import { randomUUID } from 'node:crypto';
import { withClient, type EmbeddedPostgres } from '@sluice/launch';
import { orderedId, ours, prepare } from './contestants.fixture.ts';
import { measure, median, print, quietest } from './meter.fixture.ts';

const FEW = 10_000;
const CALLS = 40_000;
const ROUNDS = 8;
const QUIET_ROUNDS = 3;

/**
 * Fills the history with freed allocations and an entry of the ledger each, and measures with little of it and with much. The
 * rows are written directly, and the index is made at the end. Autovacuum is off: it would read these rows while calls are measured.
 */
export async function growth(postgres: EmbeddedPostgres, rows: number): Promise<void> {
  const url = postgres.url('postgres');
  await prepare(url, 16);
  for (const size of [FEW, rows]) {
    await withClient(url, async (client) => {
      await client.query(`set search_path to budget; set maintenance_work_mem = '512MB'; set synchronous_commit = off`);
      await client.query('alter table allocations drop constraint allocations_pkey');
      await client.query(
        `insert into allocations (tenant, request_id, subject, node_id, token_count, ttl_seconds, settled, state, strategy,
             create_time, update_time)
           select 'acme', gen_random_uuid(), 'alice', 'node-' || lpad((i % 16)::text, 3, '0'), 10, 0, 0, 3, 1, now(), now()
             from generate_series(1, $1::int - (select count(*) from allocations)) i`,
        [size],
      );
      await client.query('alter table allocations add primary key (request_id, tenant)');
      await client.query(
        `insert into ledger (batch, ordinal, at, kind, node_id, tenant, request_id, delta, capacity_delta)
           select nextval('batch_seq'), 1, now(), 1, a.node_id, a.tenant, a.request_id, 0, 0
             from (select * from allocations limit $1) a`,
        [size],
      );
      await client.query('checkpoint');
    });
    await sizes(url);
    for (const [name, newId] of [
      ['random ids', randomUUID],
      ['ids in order of time', orderedId],
    ] as const) {
      const contestant = ours(url, 1, newId);
      // Past the first change of most pages since the checkpoint, which writes all of the page to the log.
      await measure(contestant, postgres.pid, 256, 240_000);
      const pagesBefore = await wholePages(url);
      const rounds = [];
      for (let round = 0; round < ROUNDS; round++) rounds.push([await measure(contestant, postgres.pid, 256, CALLS)]);
      const pages = ((await wholePages(url)) - pagesBefore) / (ROUNDS * CALLS);
      print(`over ${size} allocations, ${name}`, median(quietest(rounds, QUIET_ROUNDS).flat()));
      console.log(`  whole pages to the log per call: ${pages.toFixed(3)}`);
      await contestant.close();
    }
  }
}

/** Pages that Postgres has written to its log whole, so far. */
async function wholePages(url: string): Promise<number> {
  return withClient(url, async (client) => {
    const { rows } = await client.query<{ pages: string }>('select wal_fpi::text as pages from pg_stat_wal');
    return Number(rows[0]?.pages);
  });
}

async function sizes(url: string): Promise<void> {
  await withClient(url, async (client) => {
    const { rows } = await client.query<{ table: string; index: string; ledger: string; buffers: string }>(
      `select pg_size_pretty(pg_table_size('budget.allocations')) as table, pg_size_pretty(pg_indexes_size('budget.allocations')) as index,
         (select pg_size_pretty(sum(pg_total_relation_size(inhrelid))) from pg_inherits where inhparent = 'budget.ledger'::regclass) as ledger,
         current_setting('shared_buffers') as buffers`,
    );
    const [row] = rows;
    console.log(
      `allocations ${row?.table}, their index ${row?.index}, ledger ${row?.ledger}; shared_buffers ${row?.buffers}`,
    );
  });
}
