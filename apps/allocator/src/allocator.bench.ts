/**
 * The group commit against the naive design, on one Postgres with fsync and synchronous_commit on. Read the ratios.
 * `others` is the number of processors that other programs kept busy meanwhile.
 *
 *   npm run bench allocator              all but growth
 *   npm run bench allocator compare      against the naive design: 256 in flight, and 1
 *   npm run bench allocator variants     numbers of nodes, one hot node, strategies, two replicas
 *   npm run bench allocator grpc         the service over gRPC
 *   npm run bench allocator rest         the system over REST, with one and two allocators
 *   npm run bench allocator accounts S   accounts and limits, and the naive design with the same locks, with S times the calls (1)
 *   npm run bench allocator growth N M   how the cost depends on N allocations of history (10000000), with shared_buffers M (1GB)
 *
 * The naive design is what one writes first: a TypeORM transaction per request with `select … for update skip locked
 * limit 1`, a guarded update and an insert, over a pool of 16 connections. It keeps no ledger and knows no callers.
 */
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '@sluice/launch';
import { accounts } from './measure/accounts.fixture.ts';
import { naive, ours, prepare } from './measure/contestants.fixture.ts';
import { overGrpc, overRest } from './measure/end-to-end.fixture.ts';
import { growth } from './measure/growth.fixture.ts';
import { measure, median, print, quietest, type Measured } from './measure/meter.fixture.ts';

/** Alternating rounds, and how many of them count: those in which other programs on the machine did least. */
const ROUNDS = 12;
const QUIET_ROUNDS = 5;

async function compare(postgres: EmbeddedPostgres): Promise<void> {
  const url = postgres.url('postgres');
  await prepare(url, 16);
  const contestants = [await naive(url), ours(url)];
  for (const [inFlight, calls] of [
    [256, [3000, 60_000]],
    [1, [300, 300]],
  ] as const) {
    const rounds: Measured[][] = [];
    // The first round warms up.
    for (let round = 0; round <= ROUNDS; round++) {
      const measured = [];
      for (const [index, contestant] of contestants.entries()) {
        measured.push(await measure(contestant, postgres.pid, inFlight, calls[index] as number));
      }
      if (round > 0) rounds.push(measured);
    }
    const quiet = quietest(rounds, QUIET_ROUNDS);
    const [theirs, own] = contestants.map((_, index) => median(quiet.map((round) => round[index]!))) as [
      Measured,
      Measured,
    ];
    print(`naive, 16 nodes, ${inFlight} in flight`, theirs);
    print(`group commit, 16 nodes, ${inFlight} in flight`, own);
    const cpu = (theirs.ownCpu + theirs.postgresCpu) / (own.ownCpu + own.postgresCpu);
    console.log(
      `  rate ×${(own.rate / theirs.rate).toFixed(1)}, CPU per call 1/${cpu.toFixed(1)}, median latency ×${(own.p50 / theirs.p50).toFixed(2)}`,
    );
  }
  for (const contestant of contestants) await contestant.close();
}

async function variants(postgres: EmbeddedPostgres): Promise<void> {
  const url = postgres.url('postgres');
  for (const [name, nodes, strategy, hot, replicas] of [
    ['1 node', 1, 'best', false, 1],
    ['16 nodes', 16, 'best', false, 1],
    ['256 nodes', 256, 'best', false, 1],
    ['16 nodes, largest', 16, 'largest', false, 1],
    ['16 nodes, one of them with room', 16, 'best', true, 1],
    ['16 nodes, 2 replicas', 16, 'best', false, 2],
  ] as const) {
    await prepare(url, nodes, strategy, hot);
    const contestant = ours(url, replicas);
    await measure(contestant, postgres.pid, 256, 20_000);
    const rounds = [];
    for (let round = 0; round < 3; round++) rounds.push(await measure(contestant, postgres.pid, 256, 40_000));
    print(`group commit, ${name}, 256 in flight`, median(rounds));
    await contestant.close();
  }
}

/** With a Postgres of its own. */
async function withPostgres(
  work: (postgres: EmbeddedPostgres) => Promise<void>,
  settings: Readonly<Record<string, string>> = {},
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-'));
  const dataDir = join(folder, 'data');
  const logFile = join(folder, 'postgres.log');
  const postgres = await startEmbeddedPostgres({ dataDir, password: 'bench', logFile, settings });
  try {
    await work(postgres);
  } finally {
    await postgres.stop();
    rmSync(realpathSync(dataDir), { recursive: true, force: true });
    rmSync(folder, { recursive: true, force: true });
  }
}

const parts: Readonly<Record<string, () => Promise<void>>> = {
  compare: () => withPostgres(compare),
  variants: () => withPostgres(variants),
  grpc: () => withPostgres(overGrpc),
  rest: async () => {
    for (const allocators of [1, 2]) await overRest(allocators);
  },
  accounts: () =>
    withPostgres((postgres) => accounts(postgres, Number(process.argv[3] ?? 1)), {
      shared_buffers: '512MB',
      max_wal_size: '4GB',
    }),
  growth: () =>
    withPostgres((postgres) => growth(postgres, Number(process.argv[3] ?? 10_000_000)), {
      shared_buffers: process.argv[4] ?? '1GB',
      max_wal_size: '4GB',
      autovacuum: 'off',
    }),
};

const chosen = process.argv[2];
if (chosen !== undefined && parts[chosen] === undefined)
  throw new Error(`${chosen}: expected ${Object.keys(parts).join(', ')}`);
for (const name of chosen === undefined ? ['compare', 'variants', 'accounts', 'grpc', 'rest'] : [chosen])
  await parts[name]!();
