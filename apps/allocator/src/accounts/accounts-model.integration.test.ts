import { randomInt } from 'node:crypto';
import type { Call, Caller } from '@sluice/service';
import { openDatabase } from '@sluice/storage';
import { createLogger } from '@sluice/telemetry';
import type { DataSource } from 'typeorm';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Scopes } from '../allocations/scope.js';
import { type BudgetDatabase, operation, startBudgetDatabase } from '../batch/budget-database.fixture.js';
import { type LimitRefusal, type Operation, type Outcome, referenceOf } from '../batch/operation.js';
import type { PostgresExecutor } from '../batch/postgres-executor.js';
import { verify } from '../ledger/verify.js';
import { migrations } from '../migrations/index.js';
import type { AllocatorSettings } from '../settings.js';
import { AccountsModel, type ModelLimit, type ModelResult, periodName } from './accounts-model.fixture.js';
import { Accounts } from './accounts.js';
import { Limits } from './limits.js';
import { periods, units } from './units.js';

const settings = {
  DEFAULT_TENANT: 'acme',
  ALLOC_GUEST_TOKENS_PER_DAY: 0n,
  ALLOC_WEEK_START: 'monday',
} as AllocatorSettings;
const operator = { subject: 'root', tenant: 'acme', roles: ['admin'] } as unknown as Caller;
const call = { deadline: undefined } as unknown as Call;
const ZONES = [
  'UTC',
  'Europe/Berlin',
  'America/Sao_Paulo',
  'Australia/Lord_Howe',
  'Pacific/Apia',
  'America/Havana',
] as const;
/** Before changes of the clocks: Berlin, Lord Howe, Havana in March and autumn, a month of 28 days, Apia's missing day, São Paulo's missing midnight. */
const STARTS = [
  '2026-03-28',
  '2026-10-24',
  '2026-10-31',
  '2027-02-27',
  '2011-12-29',
  '2018-11-03',
  '2026-12-30',
] as const;
const STEPS = Number(process.env['MODEL_STEPS'] ?? 60);

/** Where the limits of deleted accounts are. */
const DELETED = 'deleted';

let database: BudgetDatabase;
let executor: PostgresExecutor;
/** One connection, so that its clock is set for all that it does. */
let admin: DataSource;
beforeAll(async () => {
  database = await startBudgetDatabase({ nodes: { a: 1 }, largeRequestTokens: 1_000_000n });
  executor = database.executor(1000);
  admin = await openDatabase({
    url: database.postgres.url,
    schema: 'budget',
    applicationName: 'test',
    poolSize: 1,
    poolTimeoutMs: 5000,
    migrations,
  });
});
afterAll(async () => {
  await admin?.destroy();
  await database?.stop();
});

/** Mulberry32: a seed that is printed with a failure gives the same history again. */
function generator(seed: number) {
  let state = seed;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (max: number) => Math.floor(next() * max);
  const of = <T>(list: readonly T[]): T => list[below(list.length)] as T;
  return { below, of, chance: (share: number) => next() < share };
}

class History {
  readonly model = new AccountsModel();
  private readonly random: ReturnType<typeof generator>;
  private readonly accounts: Accounts;
  private readonly limits: Limits;

  constructor(seed: number) {
    this.random = generator(seed);
    const scopes = new Scopes(settings);
    this.accounts = new Accounts(admin, settings, createLogger('test', 'fatal'), scopes);
    this.limits = new Limits(admin, settings, scopes, this.accounts);
    this.model.now = Date.parse(`${this.random.of(STARTS)}T00:00:00Z`) / 1000 + this.random.below(86_400);
  }

  async begin(): Promise<void> {
    const { model } = this;
    await database.pool.query(`
      truncate nodes, allocations, leases, ledger, ledger_opening, accounts, limits, periods, charge_sets, leaf_current, budget_events,
        budget_changes;
      update settings set accounted = false`);
    for (const [id, pool, capacity, seconds, limit] of [
      ['a', 'default', 9000, 0, 0],
      ['b', 'default', 4000, 60, 900],
      ['c', 'east', 6000, 0, 0],
    ] as const) {
      model.nodes.push({
        id,
        pool,
        capacity,
        used: 0,
        windowSeconds: seconds,
        windowLimit: limit,
        windowStart: 0,
        windowUsed: 0,
        restUntil: 0,
      });
      await database.pool.query(
        'insert into nodes (node_id, pool, capacity, window_seconds, window_limit) values ($1, $2, $3, $4, $5)',
        [id, pool, capacity, seconds, limit],
      );
      await database.pool.query(
        `insert into ledger (batch, ordinal, at, kind, node_id, delta, capacity_delta) values (nextval('batch_seq'), 1, now(), 6, $1, 0, $2)`,
        [id, capacity],
      );
    }
    await this.setClock();
    for (const path of ['t', 't/k', 't/l', 'u', 'u/k']) {
      const at = path.lastIndexOf('/');
      const parent = at < 0 ? '' : path.slice(0, at);
      await this.accounts.create(call, operator, { tenant: '', parent, name: path.slice(at + 1) });
      model.accounts.set(path, false);
    }
    model.accounts.set('', false);
    for (const account of model.accounts.keys()) {
      const count = account === '' ? 3 : 1 + this.random.below(2);
      for (let index = 0; index < count; index++) await this.setLimit(account);
    }
  }

  async step(): Promise<void> {
    const { random, model } = this;
    if (random.chance(0.3)) {
      // Mostly seconds; at times to the next hour, day or month, and at times back.
      const jump = random.of([1, 20, 70, 900, 3600, 9000, 86_400, 2_700_000, -30, -4000]);
      model.now += jump < 0 ? jump : 1 + random.below(jump);
      await this.setClock();
    }
    if (random.chance(0.25)) await this.change();
    const batch = this.batch();
    const expected = model.apply(batch);
    const { outcomes } = await executor.apply(batch, false);
    await this.compare(batch, expected, outcomes);
    await this.compareRows();
  }

  private async setClock(): Promise<void> {
    const at = new Date(this.model.now * 1000).toISOString();
    const client = await executor['connection']();
    await client.query(`set budget.clock = '${at}'`);
    await admin.query(`select set_config('budget.clock', $1, false)`, [at]);
  }

  private batch(): Operation[] {
    const { random } = this;
    const ids = new Set(Array.from({ length: 1 + random.below(12) }, () => `r${random.below(60)}`));
    return [...ids].map((id) => {
      const kind = random.of(['allocate', 'allocate', 'allocate', 'settle', 'settle', 'free', 'extend'] as const);
      const tokens = kind === 'allocate' || kind === 'settle' ? 1 + random.below(400) : 0;
      const account = random.of(['t/k', 't/k', 't/l', 't', 'u/k', 'u', '', 'gone']);
      return operation(kind, id, tokens, {
        privileged: true,
        ...(kind === 'allocate' && {
          reference: random.chance(0.9) ? referenceOf('', account, false) : undefined,
          pool: random.of([undefined, undefined, 'east', 'none']),
          ttlSeconds: random.of([0, 0, 30, 4000]),
        }),
        ...(kind === 'extend' && { ttlSeconds: 100 }),
        ...(random.chance(0.7) && (kind === 'allocate' || kind === 'settle') && { cost: String(random.below(900)) }),
      });
    });
  }

  private async setLimit(account: string): Promise<void> {
    const { random, model } = this;
    const unit = random.of(units);
    const period = random.of(periods);
    const zone = ['day', 'week', 'month'].includes(period) ? random.of(ZONES) : 'UTC';
    const hard = random.chance(0.8);
    const soft = random.of([0, 50, 80]);
    const amount = random.below({ tokens: 4000, micro_usd: 6000, requests: 30 }[unit]);
    const before = model.limits.find(
      (one) =>
        one.account === account && one.unit === unit && one.period === period && one.zone === zone && one.hard === hard,
    );
    const made = await this.limits.set(call, operator, {
      account: account === '' ? '-' : account,
      tenant: '',
      unit,
      period,
      zone,
      amount: String(amount),
      soft_percent: soft,
      mode: hard ? 'hard' : 'soft',
    });
    if (before) {
      for (const row of model.openRows(before)) row.ceiling += amount - before.amount;
      before.amount = amount;
    } else {
      const rows = new Map();
      model.limits.push({
        id: made.id,
        account,
        unit,
        period,
        zone,
        hard,
        soft,
        amount,
        extra: 0,
        extraUntil: 0,
        rows,
      });
    }
  }

  private async change(): Promise<void> {
    const { random, model } = this;
    const limit = random.of(model.limits.filter(({ account }) => account !== DELETED));
    const limit_id = `lim_${limit.id}`;
    const account = random.of([...model.accounts.keys()].filter((path) => path !== ''));
    switch (random.below(6)) {
      case 0:
        return this.setLimit(random.of([...model.accounts.keys()]));
      case 1: {
        const amount = 1 + random.below(500);
        await this.limits.topUp(call, operator, { limit_id, amount: String(amount), reason: 'more' });
        model.rowOf(limit).ceiling += amount;
        return undefined;
      }
      case 2: {
        limit.extra = random.below(800);
        limit.extraUntil = model.now + 1 + random.below(7200);
        for (const row of model.openRows(limit))
          Object.assign(row, { extra: limit.extra, extraUntil: limit.extraUntil });
        const untilUs = BigInt(limit.extraUntil) * 1_000_000n;
        await this.limits.override(call, operator, {
          limit_id,
          extra: String(limit.extra),
          untilUs,
          reason: 'a while',
        });
        return undefined;
      }
      case 3: {
        const closed = random.chance(0.4);
        await this.accounts.setState(call, operator, { account, tenant: '' }, closed ? 'closed' : 'open');
        model.accounts.set(account, closed);
        return undefined;
      }
      case 4:
        return this.move();
      default: {
        const node = random.of(model.nodes);
        node.restUntil = model.now + random.below(100);
        await database.pool.query('update nodes set rest_until = to_timestamp($2) where node_id = $1', [
          node.id,
          node.restUntil,
        ]);
        return undefined;
      }
    }
  }

  /** `k` goes from one team to the other, or back, with its limits. */
  private async move(): Promise<void> {
    const { model } = this;
    const from = this.random.of(['t/k', 'u/k']);
    const to = from === 't/k' ? 'u' : 't';
    const asked = { account: from, tenant: '', parent: to, name: 'k' };
    const there = model.accounts.has(from) ? (model.accounts.has(`${to}/k`) ? 'taken' : 'free') : 'nothing';
    const moved = this.accounts.update(call, operator, asked);
    if (there !== 'free') {
      await expect(moved).rejects.toMatchObject({ code: there === 'taken' ? 'ALREADY_EXISTS' : 'NOT_FOUND' });
      if (there === 'taken') await this.delete(`${to}/k`);
      return;
    }
    await moved;
    model.accounts.set(`${to}/k`, model.accounts.get(from) as boolean);
    model.accounts.delete(from);
    for (const limit of model.limits) if (limit.account === from) Object.assign(limit, { account: `${to}/k` });
  }

  private async delete(account: string): Promise<void> {
    const { model } = this;
    await this.accounts.delete(call, operator, { account, tenant: '' }).then(
      () => {
        model.accounts.delete(account);
        for (const limit of model.limits) if (limit.account === account) Object.assign(limit, { account: DELETED });
      },
      (error: unknown) => expect(error).toMatchObject({ code: 'FAILED_PRECONDITION' }),
    );
  }

  private async compare(batch: Operation[], expected: ModelResult[], outcomes: readonly Outcome[]): Promise<void> {
    const simple = outcomes.map((one) => ({
      result: one.result,
      ...(one.result === 'done' && { node: one.allocation.nodeId }),
    }));
    expect(simple).toEqual(expected.map(({ result, node }) => ({ result, ...(node !== undefined && { node }) })));
    for (const [index, outcome] of outcomes.entries()) {
      if (outcome.result === 'limited')
        await this.compareRefusal(expected[index] as ModelResult, outcome.refusal, batch[index] as Operation);
    }
  }

  private async compareRefusal(
    expected: ModelResult,
    refusal: LimitRefusal,
    { tokenCount, cost }: Operation,
  ): Promise<void> {
    const refusing = new Map(expected.refusing?.map((row) => [row.limit.id, row]));
    const id = refusal.limitId.slice(4);
    expect([...refusing.keys()]).toContain(id);
    expect(Number(refusal.remaining)).toBe(expected.remaining?.get(id));
    expect(refusal.asked).toBe({ tokens: tokenCount, micro_usd: cost ?? '0', requests: '1' }[refusal.unit]);
    // None of the others resets later.
    const { rows } = await database.pool.query<{ last: boolean }>(
      `select coalesce(max(ends), '-infinity') <= coalesce($3::timestamptz, 'infinity') as last from periods
         where limit_id = any ($1) and starts <= $2 and ends > $2`,
      [
        [...refusing.keys()],
        new Date(this.model.now * 1000),
        refusal.endsUs === undefined ? null : new Date(Number(refusal.endsUs / 1000n)),
      ],
    );
    expect(rows).toEqual([{ last: true }]);
  }

  private async compareRows(): Promise<void> {
    const { model } = this;
    const { rows } = await database.pool.query<{ limit_id: string; at: number | null; used: number; ceiling: number }>(
      `select limit_id::text, case when isfinite(starts) then extract(epoch from starts)::float8 end as at, used::float8, ceiling::float8 from periods`,
    );
    const found = rows.map(({ limit_id, at, used, ceiling }) => {
      const { period, zone } = model.limits.find(({ id }) => id === limit_id) as ModelLimit;
      return `${limit_id} ${periodName(period, zone, at ?? 0)} ${used} of ${ceiling}`;
    });
    const theirs = new Set(found);
    // One row a period, and no second one for the same name.
    expect(theirs.size).toBe(found.length);
    const ours = model.limits.flatMap((limit) =>
      [...limit.rows].map(([name, { used, ceiling }]) => ({ used, text: `${limit.id} ${name} ${used} of ${ceiling}` })),
    );
    for (const { used, text } of ours) if (used !== 0) expect(theirs, text).toContain(text);
    const texts = new Set(ours.map(({ text }) => text));
    for (const text of found) if (!/ 0 of /.test(text)) expect(texts, text).toContain(text);
    const { rows: nodes } = await database.pool.query(
      `select node_id as id, used::int,
           case when window_seconds > 0 and window_start = $1::bigint / window_seconds * window_seconds then window_used else 0 end::int as window
         from nodes order by 1`,
      [model.now],
    );
    expect(nodes).toEqual(
      model.nodes.map((node) => ({ id: node.id, used: node.used, window: model.windowUsed(node) })),
    );
  }
}

it('agrees with a model in every outcome, every row of a period and every node, and the ledger replays', async () => {
  const seeds = process.env['MODEL_SEED']
    ? [Number(process.env['MODEL_SEED'])]
    : Array.from({ length: 6 }, () => randomInt(2 ** 31));
  for (const seed of seeds) {
    const history = new History(seed);
    let step = 0;
    try {
      await history.begin();
      for (; step < STEPS; step++) await history.step();
      const { rules } = await verify(database.pool);
      expect(rules.filter(({ breaches }) => breaches.length > 0)).toEqual([]);
    } catch (error) {
      throw new Error(`MODEL_SEED=${seed}, step ${step}: ${(error as Error).message}`, { cause: error });
    }
  }
});
