/** Allocations with accounts: trees of several levels and limits, and the naive design with the same locks. */
import { randomUUID } from 'node:crypto';
import { withClient, type EmbeddedPostgres } from '@sluice/launch';
import { createLogger } from '@sluice/telemetry';
import pg from 'pg';
import { DataSource } from 'typeorm';
import { GroupCommit } from '../../dist/batch/group-commit.js';
import { referenceOf, type Operation } from '../../dist/batch/operation.js';
import { PostgresExecutor } from '../../dist/batch/postgres-executor.js';
import { RecentRefusals } from '../../dist/batch/recent-refusals.js';
import { Statistics } from '../../dist/batch/statistics.js';
import { type Contestant, ours, prepare } from './contestants.fixture.ts';
import { measure, median, print, type Measured } from './meter.fixture.ts';

const AMOUNT = 10n ** 15n;
const forever = { deadline: undefined, signal: undefined };
const silent = {
  batch: () => undefined,
  failed: (failure: Error) => console.error(failure.message),
  refused: () => undefined,
};
const groupLimits = { batchMax: 256, waitingMax: 100_000, queueMsMax: 60_000, overlapMin: 64 };
/** Of each account by its number: tokens a day, money a month, tokens an hour. */
const KINDS = [
  [1, 3],
  [2, 5],
  [1, 2],
] as const;

interface Shape {
  readonly levels: number;
  readonly limits: number;
  readonly leaves: number;
}

/** Ids of leaves: the deepest level. Those above have a tenth each, one at least. */
const leafId = (levels: number, index: number) => `acc_${levels * 10_000_000 + index}`;

async function seed(url: string, { levels, limits, leaves }: Shape): Promise<void> {
  await prepare(url, 16);
  await withClient(url, async (client) => {
    await client.query('set search_path to budget; set synchronous_commit = off');
    await client.query(
      'truncate accounts, limits, periods, charge_sets, leaf_current; update settings set accounted = true',
    );
    await client.query(
      `insert into accounts (account_id, tenant, parent, level, name) values (1, 'acme', null, 0, '')`,
    );
    let size = leaves;
    const sizes: number[] = [];
    for (let level = levels; level >= 1; level--) {
      sizes[level] = size;
      size = Math.max(1, Math.floor(size / 10));
    }
    for (let level = 1; level <= levels; level++) {
      await client.query(
        `insert into accounts (account_id, tenant, parent, level, name)
           select $1::bigint * 10000000 + i, 'acme', case when $1 = 1 then 1 else ($1::bigint - 1) * 10000000 + (i / 10) % $2 end, $1, 'a' || i
             from generate_series(0, $3::int - 1) i`,
        [level, sizes[level - 1] ?? 1, sizes[level]],
      );
    }
    for (const [unit, period] of KINDS.slice(0, limits)) {
      await client.query(
        `insert into limits (account_id, unit, amount, period, zone, week_start, soft_percent, hard)
           select account_id, $1, $2, $3, 'UTC', 1, 80, true from accounts where parent is not null`,
        [unit, String(AMOUNT), period],
      );
    }
    await client.query('analyze accounts, limits');
  });
}

/** As the service keeps them. */
async function keepStatistics(url: string): Promise<() => Promise<void>> {
  const dataSource = new DataSource({
    type: 'postgres',
    url,
    poolSize: 1,
    extra: { options: '-c search_path=budget' },
  });
  await dataSource.initialize();
  const statistics = new Statistics(dataSource, createLogger('bench', 'fatal'));
  statistics.onModuleInit();
  return async () => {
    await statistics.onApplicationShutdown();
    await dataSource.destroy();
  };
}

const executor = (url: string) =>
  new PostgresExecutor({ url, lockTimeoutMs: 10_000, answerTimeoutMs: 15_000, sweepMax: 200 });

function newOperation(leaf: string): Operation {
  const tokens = 1 + Math.floor(Math.random() * 1000);
  return {
    kind: 'allocate',
    tenant: 'acme',
    requestId: randomUUID(),
    subject: 'alice',
    privileged: false,
    tokenCount: String(tokens),
    ttlSeconds: 0,
    cost: String(tokens * 3),
    reference: referenceOf('', leaf, false),
  };
}

function accounted(url: string, pick: () => string, replicas = 1): Contestant {
  const groups = Array.from(
    { length: replicas },
    () => new GroupCommit({ prompt: executor(url), patient: executor(url) }, groupLimits, silent),
  );
  let turn = 0;
  return {
    name: 'accounts',
    allocate: () => (groups[turn++ % replicas] as GroupCommit).submit(newOperation(pick()), forever),
    close: async () => {
      for (const group of groups) await group.close();
    },
  };
}

/** Allocate with a lease and settle half. */
function pairs(url: string, reference: (() => string) | undefined): Contestant {
  const group = new GroupCommit({ prompt: executor(url), patient: executor(url) }, groupLimits, silent);
  return {
    name: 'pairs',
    async allocate() {
      const { reference: named, cost, ...plain } = newOperation(reference?.() ?? '');
      const operation: Operation = { ...plain, ttlSeconds: 600, ...(reference && { reference: named, cost }) };
      await group.submit(operation, forever);
      await group.submit({ ...operation, kind: 'settle', tokenCount: '1', ttlSeconds: 0, cost: undefined }, forever);
    },
    close: () => group.close(),
  };
}

/** As the service does it: what was refused a moment ago is refused again without Postgres. */
function refusing(url: string, pick: () => string): Contestant {
  const group = new GroupCommit({ prompt: executor(url), patient: executor(url) }, groupLimits, silent);
  const refusals = new RecentRefusals();
  return {
    name: 'refusals',
    async allocate() {
      const operation = newOperation(pick());
      const outcome = refusals.of(operation) ?? (await group.submit(operation, forever));
      refusals.keep(operation, outcome);
      // Otherwise callers who are refused would take the turns of those who wait.
      if (outcome.result === 'limited') await new Promise((resolve) => setImmediate(resolve));
    },
    close: () => group.close(),
  };
}

/** One transaction a request: rows of all limits for update, a node, and the inserts; over 16 connections. */
function naive(url: string, pick: () => string): Contestant {
  const pool = new pg.Pool({ connectionString: url, max: 16, options: '-c search_path=budget' });
  const once = async (operation: Operation, leaf: string): Promise<boolean> => {
    const client = await pool.connect();
    try {
      await client.query('begin');
      const { rows: sets } = await client.query(
        `select c.set_id, c.rows from leaf_current l join charge_sets c on c.set_id = l.set_id where l.tenant = 'acme' and l.reference = $1`,
        [referenceOf('', leaf, false)],
      );
      const [set] = sets as { set_id: string; rows: string[] }[];
      const { rows } = await client.query(
        'select row_id, used, ceiling, unit from periods where row_id = any ($1) order by row_id for update',
        [set!.rows],
      );
      const asked = (unit: number) => Number(unit === 1 ? operation.tokenCount : operation.cost);
      if (rows.some((row) => Number(row.used) + asked(row.unit) > Number(row.ceiling))) throw new Error('refused');
      const { rows: nodes } = await client.query(
        `select node_id from nodes where capacity - used >= $1 order by capacity - used, node_id limit 1 for update skip locked`,
        [operation.tokenCount],
      );
      if (nodes.length === 0) {
        await client.query('rollback');
        return false;
      }
      await client.query(
        'update periods set used = used + case unit when 1 then $2::bigint else $3 end where row_id = any ($1)',
        [set!.rows, operation.tokenCount, operation.cost],
      );
      await client.query('update nodes set used = used + $2 where node_id = $1', [
        nodes[0].node_id,
        operation.tokenCount,
      ]);
      await client.query(
        `insert into allocations (tenant, request_id, subject, node_id, set_id, token_count, cost, ttl_seconds, settled, strategy, state,
             create_time, update_time) values ('acme', $1, 'alice', $2, $3, $4, $5, 0, 0, 1, 1, now(), now())`,
        [operation.requestId, nodes[0].node_id, set!.set_id, operation.tokenCount, operation.cost],
      );
      await client.query(
        `insert into ledger (batch, at, delta, capacity_delta, ordinal, kind, node_id, tenant, request_id, cost_delta, set_id)
           values (0, now(), $1, 0, 1, 1, $2, 'acme', $3, $4, $5)`,
        [operation.tokenCount, nodes[0].node_id, operation.requestId, operation.cost, set!.set_id],
      );
      await client.query('commit');
      return true;
    } catch (error) {
      await client.query('rollback').catch(() => undefined);
      throw error;
    } finally {
      client.release();
    }
  };
  return {
    name: 'naive',
    async allocate() {
      const leaf = pick();
      const operation = newOperation(leaf);
      while (!(await once(operation, leaf)));
    },
    close: () => pool.end(),
  };
}

/** Some rounds, of which the quietest count. */
async function row(postgres: EmbeddedPostgres, name: string, contestant: Contestant, calls: number): Promise<Measured> {
  await measure(contestant, postgres.pid, 256, calls);
  const rounds = [];
  for (let round = 0; round < 3; round++) rounds.push(await measure(contestant, postgres.pid, 256, calls));
  await contestant.close();
  const measured = median(rounds.toSorted((one, other) => one.others - other.others).slice(0, 2));
  print(name, measured);
  return measured;
}

/** @param share of the usual number of calls */
export async function accounts(postgres: EmbeddedPostgres, share = 1): Promise<void> {
  const calls = Math.round(10_000 * share);
  const database = async (name: string) => {
    await withClient(postgres.url('postgres'), (client) => client.query(`create database ${name}`));
    return postgres.url(name);
  };
  const plain = await database('plain');
  await prepare(plain, 16);
  await row(postgres, 'no accounts', ours(plain), calls);
  await row(postgres, 'no accounts, a pair of allocate and settle', pairs(plain, undefined), calls / 2);
  for (const [levels, limits] of [
    [1, 1],
    [3, 2],
    [5, 3],
  ] as const) {
    for (const leaves of [1000, 100_000]) {
      const url = await database(`a${levels}${limits}_${leaves}`);
      await seed(url, { levels, limits, leaves });
      const stop = await keepStatistics(url);
      const any = () => leafId(levels, Math.floor(Math.random() * leaves));
      const name = `${levels}x${limits} limits`;
      if (leaves === 1000) {
        let next = 0;
        const each = () => leafId(levels, next++ % leaves);
        await measureOnce(
          postgres,
          `${name}, every path for the first time in its period`,
          accounted(url, each),
          leaves,
        );
        await row(
          postgres,
          `${name}, one hot path`,
          accounted(url, () => leafId(levels, 0)),
          calls,
        );
      } else {
        let next = 0;
        const warm = accounted(url, () => leafId(levels, next++ % leaves));
        await measureOnce(postgres, `${name}, 100000 paths for the first time in their period`, warm, leaves * share);
      }
      const own = await row(postgres, `${name}, ${leaves} accounts`, accounted(url, any), calls);
      if (levels !== 3 || leaves !== 1000) {
        await stop();
        continue;
      }
      const theirs = await row(
        postgres,
        `${name}, ${leaves} accounts, naive`,
        naive(url, any),
        Math.round(500 * share),
      );
      console.log(`  rate of the naive design ×${(own.rate / theirs.rate).toFixed(1)}`);
      await row(postgres, `${name}, a pair of allocate and settle`, pairs(url, any), calls / 2);
      await row(postgres, `${name}, ${leaves} accounts, 2 replicas`, accounted(url, any, 2), calls);
      await withClient(url, (client) =>
        client.query(
          `update budget.periods p set ceiling = 10 from budget.accounts a where a.account_id = p.account_id and a.level = 2 and a.account_id % 2 = 0`,
        ),
      );
      await row(postgres, `${name}, half of the callers refused`, refusing(url, any), calls);
      await stop();
    }
  }
}

async function measureOnce(
  postgres: EmbeddedPostgres,
  name: string,
  contestant: Contestant,
  calls: number,
): Promise<void> {
  print(name, await measure(contestant, postgres.pid, 256, calls));
  await contestant.close();
}
