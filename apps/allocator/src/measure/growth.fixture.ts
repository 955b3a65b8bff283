/** What a call costs when there is little history and when there is much. */
import { randomUUID } from 'node:crypto';
import { withClient, type EmbeddedPostgres } from '@sluice/launch';
import { orderedId, ours, prepare, type Contestant } from './contestants.fixture.ts';
import { measure, median, print, quietest, type Measured } from './meter.fixture.ts';

const FEW = 10_000;
const CALLS = 40_000;
const ROUNDS = 8;
const QUIET_ROUNDS = 3;

/**
 * Fills a database with little history and one with much, on one Postgres, and measures over both in turn. Autovacuum is off: it would
 * read what was filled in while calls are measured.
 */
export async function growth(postgres: EmbeddedPostgres, rows: number): Promise<void> {
  const histories: History[] = [];
  for (const size of [FEW, rows]) {
    const name = `history_${histories.length}`;
    await withClient(postgres.url('postgres'), (client) => client.query(`create database ${name}`));
    await prepare(postgres.url(name), 16);
    histories.push({ url: postgres.url(name), size });
    console.log(await fill(histories.at(-1)!));
  }
  for (const [name, newId] of [
    ['random ids', randomUUID],
    ['ids in order of time', orderedId],
  ] as const) {
    const contestants = histories.map(({ url }) => ours(url, 1, newId));
    await withClient(postgres.url('postgres'), (client) => client.query('checkpoint'));
    // Past the first change of most pages since the checkpoint, which writes all of the page to the log.
    for (const contestant of contestants) await measure(contestant, postgres.pid, 256, 6 * CALLS);
    const { rounds, pages } = await alternate(postgres, contestants);
    const quiet = quietest(rounds, QUIET_ROUNDS);
    const cpu = [];
    for (const [index, { size }] of histories.entries()) {
      const measured = median(quiet.map((round) => round[index]!));
      print(`over ${size} allocations, ${name}`, measured);
      console.log(`  whole pages to the log per call: ${((pages[index] as number) / (ROUNDS * CALLS)).toFixed(3)}`);
      cpu.push(measured.postgresCpu);
    }
    console.log(`  CPU of Postgres ×${(cpu[1]! / cpu[0]!).toFixed(2)}`);
    for (const contestant of contestants) await contestant.close();
  }
}

interface History {
  readonly url: string;
  readonly size: number;
}

/** Both in turn; what each measured, and the pages that it wrote to the log whole. */
async function alternate(postgres: EmbeddedPostgres, contestants: readonly Contestant[]) {
  const rounds: Measured[][] = [];
  const pages = contestants.map(() => 0);
  for (let round = 0; round < ROUNDS; round++) {
    const measured = [];
    for (const [index, contestant] of contestants.entries()) {
      const before = await wholePages(postgres);
      measured.push(await measure(contestant, postgres.pid, 256, CALLS));
      pages[index] = (pages[index] as number) + (await wholePages(postgres)) - before;
    }
    rounds.push(measured);
  }
  return { rounds, pages };
}

/** Writes freed allocations and an entry of the ledger each directly, and makes the index at the end. Tells how large they are. */
async function fill({ url, size }: History): Promise<string> {
  return withClient(url, async (client) => {
    await client.query(`set search_path to budget; set maintenance_work_mem = '512MB'; set synchronous_commit = off`);
    await client.query('alter table allocations drop constraint allocations_key');
    await client.query(
      `insert into allocations (tenant, request_id, subject, node_id, token_count, ttl_seconds, settled, state, strategy,
           create_time, update_time)
         select 'acme', gen_random_uuid(), 'alice', 'node-' || lpad((i % 16)::text, 3, '0'), 10, 0, 0, 3, 1, now(), now()
           from generate_series(1, $1::int) i`,
      [size],
    );
    const started = performance.now();
    await client.query(
      'alter table allocations add constraint allocations_key exclude using hash (allocation_key(tenant, request_id) with =)',
    );
    const seconds = (performance.now() - started) / 1000;
    await client.query(
      `insert into ledger (batch, ordinal, at, kind, node_id, tenant, request_id, delta, capacity_delta)
         select nextval('batch_seq'), 1, now(), 1, a.node_id, a.tenant, a.request_id, 0, 0 from allocations a`,
    );
    await client.query('analyze allocations');
    const { rows } = await client.query<{ table: string; index: string; ledger: string; buffers: string }>(
      `select pg_size_pretty(pg_table_size('allocations')) as table, pg_size_pretty(pg_indexes_size('allocations')) as index,
         (select pg_size_pretty(sum(pg_total_relation_size(inhrelid))) from pg_inherits where inhparent = 'ledger'::regclass) as ledger,
         current_setting('shared_buffers') as buffers`,
    );
    const [row] = rows;
    return (
      `${size} allocations: ${row?.table}, their index ${row?.index} made in ${seconds.toFixed(1)} s, ledger ${row?.ledger}; ` +
      `shared_buffers ${row?.buffers}`
    );
  });
}

/** Pages that Postgres has written to its log whole, so far. */
async function wholePages(postgres: EmbeddedPostgres): Promise<number> {
  return withClient(postgres.url('postgres'), async (client) => {
    const { rows } = await client.query<{ pages: string }>('select wal_fpi::text as pages from pg_stat_wal');
    return Number(rows[0]?.pages);
  });
}
