/** Whatever the clocks and time zones around it say: leases, history and months go by the database's clock. Needs the build. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { readSettings } from '@sluice/config';
import { withClient } from '@sluice/launch';
import { createLogger } from '@sluice/telemetry';
import { freePort } from '@sluice/testing';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type BudgetDatabase, operation, startBudgetDatabase } from './batch/budget-database.fixture.js';
import type { Outcome } from './batch/operation.js';
import { movedClock, zoneThatChangesAt } from './clock.fixture.js';
import { Retention } from './ledger/retention.js';
import { verify } from './ledger/verify.js';
import { AllocatorClient, type AllocationMessage } from './replicas.fixture.js';
import { allocatorSettings } from './settings.js';

const HOUR_MS = 3_600_000;
const changes = ['spring forward', 'fall back'] as const;
const root = fileURLToPath(new URL('../../..', import.meta.url));
const opened: { stop(): Promise<void> }[] = [];

afterEach(async () => {
  while (opened.length > 0) await opened.pop()?.stop();
});

/** A database all of whose sessions are in a time zone. */
async function databaseIn(zone: string): Promise<BudgetDatabase> {
  const database = await startBudgetDatabase({ nodes: { a: 1000, b: 1000 }, zone });
  opened.push(database);
  expect((await database.pool.query('show timezone')).rows).toEqual([{ TimeZone: zone }]);
  expect(await database.dataSource.query('show timezone')).toEqual([{ TimeZone: zone }]);
  return database;
}

/** The hours that the sessions' clocks are ahead of UTC at a moment. */
async function hoursAhead({ pool }: BudgetDatabase, at: number): Promise<number> {
  const { rows } = await pool.query<{ hours: number }>(
    'select (extract(timezone from to_timestamp($1)) / 3600)::int as hours',
    [at / 1000],
  );
  return rows[0]!.hours;
}

function retentionOf(database: BudgetDatabase): Retention {
  const environment = { DATABASE_URL: 'postgres://unused', ALLOCATION_HISTORY_HOURS: '24' };
  const settings = readSettings(allocatorSettings(environment), environment);
  return new Retention(database.dataSource, settings, createLogger('test', 'fatal'));
}

/** Seconds of the lease of an allocation that was just made or extended at `from`. */
const leaseSeconds = (outcome: Outcome | undefined, from: bigint) => {
  if (outcome?.result !== 'done') throw new Error(`not done: ${outcome?.result}`);
  return Number((outcome.allocation.expiresUs ?? 0n) - from) / 1e6;
};

describe.each(changes)('a day on which the clocks %s', (change) => {
  it('leaves every lease its seconds', async () => {
    const at = Date.now() + HOUR_MS;
    const database = await databaseIn(zoneThatChangesAt(at, change));
    const jump = (await hoursAhead(database, at + 1000)) - (await hoursAhead(database, at - 1000));
    expect(jump).toBe(change === 'spring forward' ? 1 : -1);
    const executor = database.executor();
    const lengths = [2, 3600, 2 * 3600, 86_400, 366 * 86_400];
    const { outcomes } = await executor.apply(
      lengths.map((ttlSeconds) => operation('allocate', `l${ttlSeconds}`, 1, { ttlSeconds })),
      false,
    );
    const [first] = outcomes;
    const made = first?.result === 'done' ? first.allocation.createdUs : 0n;
    expect(outcomes.map((outcome) => leaseSeconds(outcome, made))).toEqual(lengths);
    const extension = await executor.apply([operation('extend', 'l3600', 0, { ttlSeconds: 90_000 })], false);
    expect(Math.round(leaseSeconds(extension.outcomes[0], made))).toBe(90_000);
    const { rows } = await database.pool.query<{ seconds: number }>(
      `select extract(epoch from l.expires_at - a.create_time)::float8 as seconds
         from leases l join allocations a using (tenant, request_id) where request_id <> 'l3600' order by 1`,
    );
    expect(rows.map(({ seconds }) => seconds)).toEqual([2, 7200, 86_400, 366 * 86_400]);
  });

  it('ends a lease once, when its time is over, while the clocks change', async () => {
    const at = Date.now() + 1500;
    const database = await databaseIn(zoneThatChangesAt(at, change));
    const executor = database.executor();
    await executor.apply([operation('allocate', 'over', 10, { ttlSeconds: 3 })], false);
    await executor.apply([operation('allocate', 'long', 10, { ttlSeconds: 60 })], false);
    await vi.waitFor(
      async () => {
        await executor.apply([], false);
        const { rows } = await database.pool.query(`select state::int from allocations order by request_id desc`);
        expect(rows).toEqual([{ state: 4 }, { state: 1 }]);
      },
      { timeout: 30_000, interval: 50 },
    );
    expect(Date.now()).toBeGreaterThan(at);
    const { rows } = await database.pool.query<{ lasted: number }>(
      `select extract(epoch from max(at) - min(at))::float8 as lasted from ledger where request_id = 'over' having count(*) = 2`,
    );
    expect(rows[0]?.lasted).toBeGreaterThanOrEqual(3);
    expect(rows[0]?.lasted).toBeLessThan(60);
    expect((await verify(database.pool)).ok).toBe(true);
  });

  it('keeps history for as many hours as on any other day', async () => {
    const database = await databaseIn(zoneThatChangesAt(Date.now() - 12 * HOUR_MS, change));
    const retention = retentionOf(database);
    await retention.run();
    const executor = database.executor();
    const ages = { young: '23 hours 59 minutes', old: '24 hours 1 minute' };
    for (const [id, age] of Object.entries(ages)) {
      await executor.apply([operation('allocate', id, 5)], false);
      await executor.apply([operation('free', id)], false);
      const past = `clock_timestamp() - make_interval(secs => extract(epoch from interval '${age}'))`;
      await database.pool.query(`update allocations set update_time = ${past} where request_id = '${id}'`);
      await database.pool.query(`update ledger set at = ${past} where request_id = '${id}'`);
    }
    await database.pool.query(`update settings set pruned_until = clock_timestamp() - make_interval(hours => 30)`);
    await retention.run();
    expect((await database.pool.query('select request_id from allocations')).rows).toEqual([{ request_id: 'young' }]);
  });
});

describe.each(['Pacific/Kiritimati', 'Europe/Berlin', 'America/Los_Angeles'])("the month's end in %s", (zone) => {
  it('is that of UTC: each entry has one month, and none is between two', async () => {
    const database = await databaseIn(zone);
    const { pool } = database;
    await retentionOf(database).run();
    const months = (
      await pool.query<{ name: string; first: string }>(
        `select relname as name, to_char(to_date(relname, '"ledger_"YYYY_MM'), 'YYYY-MM-DD') as first
           from pg_class where relname ~ '^ledger_\\d{4}_\\d{2}$' order by relname`,
      )
    ).rows;
    expect(months.length).toBeGreaterThanOrEqual(3);
    for (const { name, first } of months) {
      const entry = `insert into ledger (batch, at, delta, capacity_delta, ordinal, kind, node_id)`;
      const { rows } = await pool.query<{ place: string }>(
        `${entry} select 0, '${first} 00:00:00Z'::timestamptz + make_interval(secs => s), 0, 0, 1, 1, 'a'
           from unnest(array[-0.000001, 0]) s returning tableoid::regclass::text as place`,
      );
      const before = months[months.findIndex((month) => month.name === name) - 1]?.name ?? 'ledger_default';
      expect(rows.map(({ place }) => place)).toEqual([before, name]);
    }
    const last = months.at(-1)!;
    const { rows } = await pool.query<{ months: number }>(
      `select count(distinct date_trunc('month', m))::int as months
         from generate_series('${months[0]!.first}'::timestamp, '${last.first}'::timestamp, interval '1 month') m`,
    );
    expect(rows[0]?.months).toBe(months.length);
  });
});

/** An allocator in a process of its own whose clock is wrong. */
async function replicaAt(url: string, shiftMs: number): Promise<{ client: AllocatorClient; process: ChildProcess }> {
  const port = await freePort();
  const child = spawn(process.execPath, ['--import', movedClock, `${root}/apps/allocator/dist/main.js`], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: {
      ...process.env,
      LOG_LEVEL: 'fatal',
      CLOCK_SHIFT_MS: String(shiftMs),
      ALLOCATOR_DATABASE_URL: url,
      ALLOCATOR_PORT: String(port),
      ALLOCATOR_ADMIN_PORT: '0',
      NODES: 'a,b',
      NODE_BUDGET: '1000',
    },
  });
  const client = new AllocatorClient(`127.0.0.1:${port}`);
  opened.push({
    async stop() {
      client.close();
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  });
  await vi.waitFor(() => client.call('getUsage', {}), { timeout: 20_000, interval: 50 });
  return { client, process: child };
}

describe('replicas whose clocks are an hour off, one to either side', () => {
  it('agree on when a lease ends, also when their clocks are set right under way', async () => {
    const database = await databaseIn('Europe/Berlin');
    const { url } = database.postgres;
    const replicas = [await replicaAt(url, HOUR_MS), await replicaAt(url, -HOUR_MS)] as const;
    const call = (index: number, method: string, request: object) =>
      replicas[index % 2]!.client.call<AllocationMessage>(method, request, undefined, 5000);
    for (const round of ['wrong', 'right']) {
      for (const index of [0, 1]) {
        const short = `${round}-short-${index}`;
        const long = `${round}-long-${index}`;
        await call(index, 'allocate', { request_id: short, token_count: 7, ttl_seconds: 2 });
        const made = await call(index, 'allocate', { request_id: long, token_count: 7, ttl_seconds: 600 });
        const [now] = (await database.pool.query('select extract(epoch from clock_timestamp())::float8 as s')).rows;
        const left = Number(made.expires_at?.seconds) - (now as { s: number }).s;
        expect(left).toBeGreaterThan(500);
        expect(left).toBeLessThanOrEqual(600);
        await vi.waitFor(
          async () => {
            const seen = await call(index + 1, 'getAllocation', { request_id: short });
            expect(seen.state).toBe('EXPIRED');
          },
          { timeout: 30_000, interval: 50 },
        );
        expect((await call(index + 1, 'getAllocation', { request_id: long })).state).toBe('ALLOCATED');
        expect((await call(index + 1, 'settle', { request_id: long, token_count: 3 })).state).toBe('SETTLED');
      }
      for (const { process: child } of replicas) child.kill('SIGUSR2');
      await delay(100);
    }
    await withClient(url, async (client) => {
      await client.query('set search_path to budget');
      const { rows } = await client.query<{ lasted: number }>(
        `select extract(epoch from e.at - a.at)::float8 as lasted
           from ledger e join ledger a using (tenant, request_id) where e.kind = 5 and a.kind = 1`,
      );
      expect(rows).toHaveLength(4);
      for (const { lasted } of rows) {
        expect(lasted).toBeGreaterThanOrEqual(2);
        expect(lasted).toBeLessThan(120);
      }
      expect((await verify(client)).ok).toBe(true);
    });
  });
});
