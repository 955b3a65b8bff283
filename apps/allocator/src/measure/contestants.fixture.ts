/** The group commit and the naive design, both called in process, on a schema of their own each. */
import { randomUUID } from 'node:crypto';
import { openDatabase } from '@sluice/storage';
import { createLogger } from '@sluice/telemetry';
import { DataSource } from 'typeorm';
import { installFunctions } from '../../dist/batch/functions.js';
import { GroupCommit } from '../../dist/batch/group-commit.js';
import type { Operation, Strategy } from '../../dist/batch/operation.js';
import { PostgresExecutor } from '../../dist/batch/postgres-executor.js';
import { migrations } from '../../dist/migrations/index.js';
import { NodeSeed } from '../../dist/nodes/node-seed.js';
import { StrategySettings } from '../../dist/strategy/strategy-setting.js';

export const CAPACITY = 10n ** 15n;
const forever = { deadline: undefined, signal: undefined };
const silent = {
  batch: () => undefined,
  failed: (failure: Error) => console.error(failure.message),
  refused: () => undefined,
};

/** One way of allocating. */
export interface Contestant {
  readonly name: string;
  allocate(): Promise<unknown>;
  close(): Promise<void>;
}

/** A UUID of version 7 (RFC 9562 section 5.7): its beginning is the time in milliseconds. */
export const orderedId = (): string => {
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

export function ours(url: string, replicas = 1, newId: () => string = randomUUID): Contestant {
  const limits = { batchMax: 256, waitingMax: 100_000, queueMsMax: 60_000, overlapMin: 64 };
  const executor = () => new PostgresExecutor({ url, lockTimeoutMs: 10_000, answerTimeoutMs: 15_000, sweepMax: 200 });
  const groups = Array.from(
    { length: replicas },
    () => new GroupCommit({ prompt: executor(), patient: executor() }, limits, silent),
  );
  let turn = 0;
  return {
    name: replicas === 1 ? 'group commit' : `group commit, ${replicas} replicas`,
    allocate: () => (groups[turn++ % replicas] as GroupCommit).submit(newOperation(newId), forever),
    close: async () => {
      for (const group of groups) await group.close();
    },
  };
}

export async function naive(url: string): Promise<Contestant> {
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

export async function prepare(url: string, nodes: number, strategy: Strategy = 'best', hot = false): Promise<void> {
  const options = { url, schema: 'budget', applicationName: 'bench', poolSize: 2, poolTimeoutMs: 5000, migrations };
  const dataSource = await openDatabase(options);
  await installFunctions(dataSource);
  await dataSource.query('truncate nodes, allocations, leases, ledger, settings');
  await new StrategySettings(dataSource).seed(strategy, CAPACITY);
  const named = Array.from({ length: nodes }, (_, index) => ({
    nodeId: `node-${String(index).padStart(3, '0')}`,
    capacity: hot && index > 0 ? 1n : undefined,
  }));
  await new NodeSeed(dataSource, createLogger('bench', 'fatal')).seed(named, CAPACITY);
  await dataSource.query(`
    drop schema if exists naive cascade;
    create schema naive;
    create table naive.nodes (node_id text primary key, capacity bigint not null, used bigint not null default 0);
    create table naive.allocations (request_id text primary key, node_id text not null, token_count bigint not null,
      create_time timestamptz not null default now());
    insert into naive.nodes (node_id, capacity) select node_id, capacity from nodes`);
  await dataSource.destroy();
}
