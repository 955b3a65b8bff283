/**
 * The group commit against the naive design, on one Postgres with fsync and synchronous_commit on. Read the ratios.
 *
 *   npm run bench allocator            the comparison, numbers of nodes, two replicas, gRPC
 *   npm run bench allocator growth N   how the cost depends on N allocations of history (default 3000000)
 *
 * The naive design is what one writes first: a TypeORM transaction per request with `select … for update skip locked
 * limit 1`, a guarded update and an insert, over a pool of 16 connections. It keeps no ledger and knows no callers.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbeddedPostgres, withClient, type EmbeddedPostgres } from '@sluice/launch';
import { openDatabase } from '@sluice/storage';
import { freePort } from '@sluice/testing';
import { Channel, type CallEvents, type Outcome } from '@sluice/wire';
import { DataSource } from 'typeorm';
import { GroupCommit } from '../dist/batch/group-commit.js';
import type { Operation, Strategy } from '../dist/batch/operation.js';
import { PostgresExecutor } from '../dist/batch/postgres-executor.js';
import { migrations } from '../dist/migrations/index.js';
import { Nodes } from '../dist/nodes/nodes.js';
import { StrategySettings } from '../dist/strategy/strategy-setting.js';

const CAPACITY = 10n ** 15n;
const TICKS_PER_SECOND = 100;
const forever = { deadline: undefined, signal: undefined };
const silent = {
  batch: () => undefined,
  failed: (failure: Error) => console.error(failure.message),
  refused: () => undefined,
};

/** One way of allocating. */
interface Contestant {
  readonly name: string;
  allocate(): Promise<unknown>;
  close(): Promise<void>;
}

interface Measured {
  readonly rate: number;
  readonly p50: number;
  readonly p99: number;
  /** CPU microseconds per call: of this process, and of all of Postgres. */
  readonly ownCpu: number;
  readonly postgresCpu: number;
}

/** A UUID of version 7 (RFC 9562 section 5.7): its beginning is the time in milliseconds. */
const orderedId = (): string => {
  const time = Date.now().toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`;
};

const newOperation = (newId: () => string = randomUUID): Operation => ({
  kind: 'allocate',
  tenant: 'acme',
  requestId: newId(),
  subject: 'alice',
  privileged: false,
  tokenCount: String(1 + Math.floor(Math.random() * 1000)),
  ttlSeconds: 0,
});

function ours(url: string, replicas = 1, newId: () => string = randomUUID): Contestant {
  const limits = { batchMax: 256, waitingMax: 100_000, queueMsMax: 60_000, overlapMin: 64 };
  const executor = () => new PostgresExecutor({ url, lockTimeoutMs: 10_000, answerTimeoutMs: 15_000, sweepMax: 200 });
  const groups = Array.from({ length: replicas }, () => new GroupCommit([executor(), executor()], limits, silent));
  let turn = 0;
  return {
    name: replicas === 1 ? 'group commit' : `group commit, ${replicas} replicas`,
    allocate: () => (groups[turn++ % replicas] as GroupCommit).submit(newOperation(newId), forever),
    close: async () => {
      for (const group of groups) await group.close();
    },
  };
}

async function naive(url: string): Promise<Contestant> {
  const dataSource = new DataSource({ type: 'postgres', url, poolSize: 16 });
  await dataSource.initialize();
  const once = ({ requestId, tokenCount }: Operation) =>
    dataSource.transaction(async (manager) => {
      const [node] = await manager.query<{ node_id: string }[]>(
        `select node_id from naive.nodes where capacity - used >= $1
           order by capacity - used, node_id limit 1 for update skip locked`,
        [tokenCount],
      );
      if (!node) return false;
      await manager.query(`update naive.nodes set used = used + $1 where node_id = $2 and used + $1 <= capacity`, [
        tokenCount,
        node.node_id,
      ]);
      await manager.query(
        `insert into naive.allocations (request_id, node_id, token_count) values ($1, $2, $3) on conflict do nothing`,
        [requestId, node.node_id, tokenCount],
      );
      return true;
    });
  return {
    name: 'naive',
    async allocate() {
      const operation = newOperation();
      // All nodes locked is no refusal: look again.
      while (!(await once(operation)));
    },
    close: () => dataSource.destroy(),
  };
}

async function prepare(url: string, nodes: number, strategy: Strategy = 'best', hot = false): Promise<void> {
  const options = { url, schema: 'budget', applicationName: 'bench', poolSize: 2, poolTimeoutMs: 5000, migrations };
  const dataSource = await openDatabase(options);
  await dataSource.query('truncate nodes, allocations, leases, ledger, settings');
  await new StrategySettings(dataSource).seed(strategy, CAPACITY);
  const named = Array.from({ length: nodes }, (_, index) => ({
    nodeId: `node-${String(index).padStart(3, '0')}`,
    capacity: hot && index > 0 ? 1n : undefined,
  }));
  await new Nodes(dataSource).seed(named, CAPACITY);
  await dataSource.query(`
    drop schema if exists naive cascade;
    create schema naive;
    create table naive.nodes (node_id text primary key, capacity bigint not null, used bigint not null default 0);
    create table naive.allocations (request_id text primary key, node_id text not null, token_count bigint not null,
      create_time timestamptz not null default now());
    insert into naive.nodes (node_id, capacity) select node_id, capacity from nodes`);
  await dataSource.destroy();
}

/** CPU seconds of a process and its children so far. */
function treeCpu(pid: number): number {
  let ticks = 0;
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      // After the name in parentheses: state, parent, …, user and system time, the same of ended children (proc(5), fields 3, 4, 14 to 17).
      const text = readFileSync(`/proc/${entry}/stat`, 'utf8');
      const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
      const ended = Number(entry) === pid ? Number(fields[13]) + Number(fields[14]) : 0;
      if (Number(entry) === pid || Number(fields[1]) === pid) ticks += Number(fields[11]) + Number(fields[12]) + ended;
    } catch {
      // It has ended since.
    }
  }
  return ticks / TICKS_PER_SECOND;
}

async function measure(
  contestant: Contestant,
  postgres: EmbeddedPostgres,
  inFlight: number,
  calls: number,
): Promise<Measured> {
  const latencies: number[] = [];
  let started = 0;
  const caller = async () => {
    while (started < calls) {
      started++;
      const from = performance.now();
      await contestant.allocate();
      latencies.push(performance.now() - from);
    }
  };
  const own = process.cpuUsage();
  const theirs = treeCpu(postgres.pid);
  const from = performance.now();
  await Promise.all(Array.from({ length: inFlight }, caller));
  const seconds = (performance.now() - from) / 1000;
  const { user, system } = process.cpuUsage(own);
  latencies.sort((one, other) => one - other);
  const at = (share: number) =>
    latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] as number;
  return {
    rate: latencies.length / seconds,
    p50: at(0.5),
    p99: at(0.99),
    ownCpu: (user + system) / latencies.length,
    postgresCpu: ((treeCpu(postgres.pid) - theirs) * 1e6) / latencies.length,
  };
}

function median(all: readonly Measured[]): Measured {
  const of = (key: keyof Measured) =>
    all.map((one) => one[key]).toSorted((one, other) => one - other)[all.length >> 1] as number;
  return { rate: of('rate'), p50: of('p50'), p99: of('p99'), ownCpu: of('ownCpu'), postgresCpu: of('postgresCpu') };
}

function print(name: string, { rate, p50, p99, ownCpu, postgresCpu }: Measured): void {
  console.log(
    `${name.padEnd(44)} ${rate.toFixed(0).padStart(7)}/s   p50 ${p50.toFixed(2).padStart(7)} ms   p99 ${p99.toFixed(2).padStart(7)} ms` +
      `   CPU per call: node ${ownCpu.toFixed(0).padStart(4)} µs, Postgres ${postgresCpu.toFixed(0).padStart(4)} µs`,
  );
}

async function compare(postgres: EmbeddedPostgres): Promise<void> {
  const url = postgres.url('postgres');
  await prepare(url, 16);
  const contestants = [await naive(url), ours(url)];
  for (const [inFlight, calls] of [
    [256, [3000, 60_000]],
    [1, [300, 300]],
  ] as const) {
    const results = contestants.map((): Measured[] => []);
    for (let round = 0; round <= 5; round++) {
      for (const [index, contestant] of contestants.entries()) {
        const measured = await measure(contestant, postgres, inFlight, calls[index] as number);
        // The first round warms up.
        if (round > 0) (results[index] as Measured[]).push(measured);
      }
    }
    const [theirs, own] = results.map(median) as [Measured, Measured];
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
    ['256 nodes', 256, 'best', false, 1],
    ['16 nodes, largest', 16, 'largest', false, 1],
    ['16 nodes, one of them with room', 16, 'best', true, 1],
    ['16 nodes, 2 replicas', 16, 'best', false, 2],
  ] as const) {
    await prepare(url, nodes, strategy, hot);
    const contestant = ours(url, replicas);
    await measure(contestant, postgres, 256, 20_000);
    print(`group commit, ${name}, 256 in flight`, await measure(contestant, postgres, 256, 60_000));
    await contestant.close();
  }
}

/** The service itself in a process of its own, called over gRPC by `@sluice/wire`, whose calls cost a few microseconds. */
async function overGrpc(postgres: EmbeddedPostgres): Promise<void> {
  const url = postgres.url('postgres');
  await prepare(url, 16);
  const port = await freePort();
  const environment = { ...process.env, LOG_LEVEL: 'error', ALLOCATOR_PORT: String(port), ALLOCATOR_ADMIN_PORT: '0' };
  const service: ChildProcess = spawn(process.execPath, ['apps/allocator/dist/main.js'], {
    stdio: 'inherit',
    env: { ...environment, ALLOCATOR_DATABASE_URL: url, NODES: 'node-000', NODE_BUDGET: String(CAPACITY) },
  });
  const channel = new Channel(`127.0.0.1:${port}`, { connectionsPerAddress: 1 });
  const method = channel.method('/sluice.allocator.v1.AllocatorService/Allocate');
  const identity: [string, string][] = [
    ['x-sluice-subject', 'alice'],
    ['x-sluice-tenant', 'acme'],
  ];
  const allocate = () =>
    new Promise<void>((resolve, reject) => {
      const events: CallEvents = {
        onHeaders: () => undefined,
        onMessage: () => undefined,
        onEnd: (outcome: Outcome) => (outcome.code === 0 ? resolve() : reject(new Error(outcome.message))),
      };
      channel.unary(method, identity, allocateRequest(), { deadline: Date.now() + 10_000 }, events);
    });
  try {
    while (
      !(await allocate().then(
        () => true,
        () => false,
      ))
    )
      await new Promise((resolve) => setTimeout(resolve, 50));
    const contestant = { name: 'gRPC', allocate, close: () => Promise.resolve() };
    await measure(contestant, postgres, 256, 10_000);
    for (const [inFlight, calls] of [
      [256, 30_000],
      [1, 500],
    ] as const) {
      const before = treeCpu(service.pid as number);
      const measured = await measure(contestant, postgres, inFlight, calls);
      print(`gRPC, 16 nodes, ${inFlight} in flight`, measured);
      console.log(
        `  the service: ${(((treeCpu(service.pid as number) - before) * 1e6) / calls).toFixed(0)} µs CPU per call`,
      );
    }
  } finally {
    await channel.close(100);
    service.kill('SIGTERM');
    await once(service, 'exit');
  }
}

/** `AllocateRequest {request_id, token_count: 7}` in protobuf. */
function allocateRequest(): Buffer {
  const id = randomUUID();
  return Buffer.concat([Buffer.from([0x0a, id.length]), Buffer.from(id), Buffer.from([0x10, 7])]);
}

/** The same measurement with little and with much history, which is written directly. */
async function growth(postgres: EmbeddedPostgres, rows: number): Promise<void> {
  const url = postgres.url('postgres');
  await prepare(url, 16);
  const sizes = [10_000, rows];
  let present = 0;
  for (const size of sizes) {
    await withClient(url, async (client) => {
      await client.query('set search_path to budget');
      await client.query(
        `insert into allocations (tenant, request_id, subject, node_id, token_count, ttl_seconds, settled, state, strategy,
             create_time, update_time)
           select 'acme', gen_random_uuid(), 'alice', 'node-' || lpad((i % 16)::text, 3, '0'), 10, 0, 0, 3, 1, now(), now()
             from generate_series(1, $1::int) i`,
        [size - present],
      );
      await client.query(
        `insert into ledger (batch, ordinal, at, kind, node_id, tenant, request_id, delta, capacity_delta)
           select nextval('batch_seq'), 1, now(), 1, a.node_id, a.tenant, a.request_id, 0, 0
             from (select * from allocations limit $1) a`,
        [size - present],
      );
      await client.query('vacuum analyze allocations');
      await client.query('checkpoint');
    });
    present = size;
    for (const [name, newId] of [
      ['random ids', randomUUID],
      ['ids in order of time', orderedId],
    ] as const) {
      const contestant = ours(url, 1, newId);
      // The first change of a page after a checkpoint writes the page to the log: let that pass.
      await measure(contestant, postgres, 256, 120_000);
      print(`over ${size} allocations, ${name}`, await measure(contestant, postgres, 256, 60_000));
      await contestant.close();
    }
  }
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-'));
  const dataDir = join(folder, 'data');
  const postgres = await startEmbeddedPostgres({ dataDir, password: 'bench', logFile: join(folder, 'postgres.log') });
  try {
    if (process.argv[2] === 'growth') await growth(postgres, Number(process.argv[3] ?? 3_000_000));
    else {
      await compare(postgres);
      await variants(postgres);
      await overGrpc(postgres);
    }
  } finally {
    await postgres.stop();
    rmSync(realpathSync(dataDir), { recursive: true, force: true });
    rmSync(folder, { recursive: true, force: true });
  }
}

await main();
