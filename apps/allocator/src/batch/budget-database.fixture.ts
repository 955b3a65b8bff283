import { withClient } from '@sluice/launch';
import { openDatabase } from '@sluice/storage';
import { createLogger } from '@sluice/telemetry';
import { startPostgres, type TestPostgres } from '@sluice/testing';
import pg from 'pg';
import type { DataSource } from 'typeorm';
import { migrations } from '../migrations/index.js';
import { NodeSeed } from '../nodes/node-seed.js';
import { StrategySettings } from '../strategy/strategy-setting.js';
import { installFunctions } from './functions.js';
import type { Operation, Strategy } from './operation.js';
import { PostgresExecutor } from './postgres-executor.js';

/** A database with the schema of the allocator, without the service. */
export interface BudgetDatabase {
  readonly postgres: TestPostgres;
  readonly dataSource: DataSource;
  readonly pool: pg.Pool;
  executor(sweepMax?: number): PostgresExecutor;
  stop(): Promise<void>;
}

export interface BudgetContent {
  readonly nodes: Readonly<Record<string, bigint | number>>;
  readonly strategy?: Strategy;
  readonly largeRequestTokens?: bigint;
  /** The time zone of every session. */
  readonly zone?: string;
}

export async function startBudgetDatabase(content: BudgetContent): Promise<BudgetDatabase> {
  const postgres = await startPostgres();
  const { url, database } = postgres;
  if (content.zone !== undefined) {
    await withClient(url, (client) => client.query(`alter database ${database} set timezone = '${content.zone}'`));
  }
  const dataSource = await openDatabase({
    url,
    schema: 'budget',
    applicationName: 'test',
    poolSize: 5,
    poolTimeoutMs: 5000,
    migrations,
  });
  await installFunctions(dataSource);
  await new StrategySettings(dataSource).seed(content.strategy ?? 'best', content.largeRequestTokens ?? 1_000_000n);
  await new NodeSeed(dataSource, createLogger('test', 'fatal')).seed(
    Object.entries(content.nodes).map(([nodeId, capacity]) => ({ nodeId, capacity: BigInt(capacity) })),
    1n,
  );
  const pool = new pg.Pool({ connectionString: url, max: 4, options: '-c search_path=budget' });
  // An idle connection may hear of the server's end before its own.
  pool.on('error', () => undefined);
  const executors: PostgresExecutor[] = [];
  return {
    postgres,
    dataSource,
    pool,
    executor(sweepMax = 100) {
      const executor = new PostgresExecutor({ url, lockTimeoutMs: 5000, answerTimeoutMs: 10_000, sweepMax });
      executors.push(executor);
      return executor;
    },
    async stop() {
      for (const executor of executors) await executor.close();
      await pool.end();
      await dataSource.destroy();
      await postgres.stop();
    },
  };
}

/** An operation of alice's in the tenant acme. */
export function operation(
  kind: Operation['kind'],
  requestId: string,
  tokenCount = 0,
  more: Partial<Operation> = {},
): Operation {
  return {
    kind,
    tenant: 'acme',
    requestId,
    subject: 'alice',
    privileged: false,
    tokenCount: String(tokenCount),
    ttlSeconds: 0,
    ...more,
  };
}
