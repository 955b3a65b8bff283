import { Inject, Injectable } from '@nestjs/common';
import { Problem } from '@sluice/problem';
import type { Call, Caller } from '@sluice/service';
import { transaction } from '@sluice/storage';
import { DataSource, type EntityManager } from 'typeorm';
import { invalid, readOneOf, readReason } from '../allocations/reading.js';
import { Scopes } from '../allocations/scope.js';
import { type AllocatorSettings, SETTINGS } from '../settings.js';
import { type BudgetChange, type Ceiling, type CeilingChange, lockAccounts, record } from './account-lock.js';
import { findAccount, type LimitRecord, readLimit } from './account-reader.js';
import { type AccountName, Accounts, readReference } from './accounts.js';
import { AMOUNT_MAX, modes, periods, units, weekdays } from './units.js';

/** A limit as a request says it; counts are the decimal text of an int64. */
export interface AskedLimit extends AccountName {
  readonly unit: string;
  readonly amount: string;
  readonly period: string;
  readonly zone: string;
  readonly soft_percent?: number | undefined;
  readonly mode: string;
}

const SOFT_USUAL = 80;

/** The limits of accounts, and how they are changed: under the lock of the batches, on the running period at once. */
@Injectable()
export class Limits {
  constructor(
    @Inject(DataSource) private readonly dataSource: DataSource,
    @Inject(SETTINGS) private readonly settings: AllocatorSettings,
    private readonly scopes: Scopes,
    private readonly accounts: Accounts,
  ) {}

  /** Makes a limit, or changes the one of the same kind. @throws Problem NOT_FOUND, INVALID_ARGUMENT, PERMISSION_DENIED */
  set(call: Call, caller: Caller, asked: AskedLimit): Promise<LimitRecord> {
    const tenant = this.scopes.tenantOf(caller, asked.tenant);
    const reference = readReference('account', asked.account);
    const wanted = readWanted(asked);
    return transaction(this.dataSource, call, async (manager) => {
      await requireZone(manager, wanted.zone);
      if (reference === '') {
        this.scopes.requireOperator(caller);
        await this.accounts.requireRoot(manager, caller, tenant);
      }
      await findAccount(manager, tenant, reference);
      const batch = await lockAccounts(manager);
      const account = await findAccount(manager, tenant, reference);
      if (account.parent === '') this.scopes.requireOperator(caller);
      const values = [account.id, wanted.unit, wanted.period, wanted.zone, wanted.hard];
      const [there] = await manager.query<{ id: string }[]>(
        `select limit_id::text as id from limits where account_id = $1 and unit = $2 and period = $3 and zone = $4 and hard = $5`,
        values,
      );
      const limitId = there?.id ?? (await this.insert(manager, tenant, wanted, values));
      const rows = there ? await changeAmount(manager, limitId, wanted) : [];
      const detail = {
        unit: asked.unit,
        period: asked.period,
        zone: wanted.zone,
        amount: wanted.amount,
        soft_percent: wanted.soft,
      };
      const action = there ? 'change limit' : 'create limit';
      await recordAll(manager, caller, { batch, action, tenant, accountId: account.id, limitId, detail }, rows);
      return readLimit(manager, limitId);
    });
  }

  async delete(call: Call, caller: Caller, limitId: string): Promise<LimitRecord> {
    return this.change(call, caller, limitId, 'delete limit', async (manager, limit) => {
      await manager.query('delete from limits where limit_id = $1', [limit.id]);
      await manager.query('delete from leaf_current where tenant = $1', [limit.tenant]);
      return { detail: { amount: limit.amount }, answer: limit };
    });
  }

  /** @param untilUs microseconds since the epoch */
  override(
    call: Call,
    caller: Caller,
    asked: {
      readonly limit_id: string;
      readonly extra: string;
      readonly untilUs: bigint | undefined;
      readonly reason: string;
    },
  ): Promise<LimitRecord> {
    const extra = readAmount('extra', asked.extra, 0n);
    const reason = readReason(asked.reason);
    if (extra !== '0' && asked.untilUs === undefined) throw invalid('until', 'a time at which it ends');
    const until = asked.untilUs === undefined ? null : new Date(Number(asked.untilUs / 1000n));
    return this.change(call, caller, asked.limit_id, 'override limit', async (manager, limit) => {
      const [row] = await manager.query<[{ past: boolean }]>(`select coalesce($1 <= budget_clock(), false) as past`, [
        until,
      ]);
      if (row.past && extra !== '0') throw invalid('until', 'a time that is still to come');
      await manager.query('update limits set extra = $2, extra_until = $3 where limit_id = $1', [
        limit.id,
        extra,
        until,
      ]);
      const rows = [];
      for (const row of await openRows(manager, limit.id))
        rows.push(await changeRow(manager, row, { extra, extra_until: until }));
      return { detail: { extra, until, reason }, rows };
    });
  }

  topUp(
    call: Call,
    caller: Caller,
    asked: { readonly limit_id: string; readonly amount: string; readonly reason: string },
  ): Promise<LimitRecord> {
    const amount = readAmount('amount', asked.amount, 1n);
    const reason = readReason(asked.reason);
    return this.change(call, caller, asked.limit_id, 'top up limit', async (manager, limit) => {
      const before = (await currentRow(manager, limit.id)) ?? (await makeRow(manager, limit.id));
      const ceiling = BigInt(before.ceiling) + BigInt(amount);
      if (ceiling > AMOUNT_MAX) throw invalid('amount', `so much that there are at most ${AMOUNT_MAX} in all`);
      const row = await changeRow(manager, before, { ceiling: String(ceiling) });
      return { detail: { amount, reason }, rows: [row] };
    });
  }

  private change(
    call: Call,
    caller: Caller,
    id: string,
    action: string,
    work: (
      manager: EntityManager,
      limit: LimitRecord,
    ) => Promise<{ readonly detail: object; readonly rows?: readonly CeilingChange[]; readonly answer?: LimitRecord }>,
  ): Promise<LimitRecord> {
    const limitId = readLimitId(id);
    return transaction(this.dataSource, call, async (manager) => {
      await this.requireOwn(caller, await readLimit(manager, limitId));
      const batch = await lockAccounts(manager);
      const limit = await readLimit(manager, limitId);
      const { detail, rows = [], answer } = await work(manager, limit);
      const { tenant, accountId } = limit;
      await recordAll(manager, caller, { batch, action, tenant, accountId, limitId, detail }, rows);
      return answer ?? readLimit(manager, limitId);
    });
  }

  /** The limits of a root bound its tenant: they are not for the tenant's own administrators. Those of others do not exist to them. */
  private requireOwn(caller: Caller, { tenant, path, id }: LimitRecord): void {
    if (this.scopes.isOperator(caller)) return;
    if (tenant !== caller.tenant) throw new Problem('NOT_FOUND', `There is no limit lim_${id}.`);
    if (path === '') this.scopes.requireOperator(caller);
  }

  /** A new limit counts from now on; who is charged on its account's path is looked up anew. */
  private async insert(
    manager: EntityManager,
    tenant: string,
    { amount, soft }: Wanted,
    kind: unknown[],
  ): Promise<string> {
    const weekStart = weekdays.indexOf(this.settings.ALLOC_WEEK_START) + 1;
    const [row] = await manager.query<[{ id: string }]>(
      `insert into limits (account_id, unit, period, zone, hard, amount, soft_percent, week_start)
         values ($1, $2, $3, $4, $5, $6, $7, $8) returning limit_id::text as id`,
      [...kind, amount, soft, weekStart],
    );
    await manager.query('delete from leaf_current where tenant = $1', [tenant]);
    return row.id;
  }
}

interface Wanted {
  readonly unit: number;
  readonly amount: string;
  readonly period: number;
  readonly zone: string;
  readonly soft: number;
  readonly hard: boolean;
}

/** @throws Problem INVALID_ARGUMENT */
function readWanted(asked: AskedLimit): Wanted {
  const unit = readOneOf('unit', units, asked.unit);
  const period = readOneOf('period', periods, asked.period);
  const mode = asked.mode === '' ? 'hard' : readOneOf('mode', modes, asked.mode);
  const soft = asked.soft_percent ?? SOFT_USUAL;
  if (!Number.isInteger(soft) || soft < 0 || soft > 100) throw invalid('soft_percent', 'a whole number from 0 to 100');
  const zoned = ['day', 'week', 'month'].includes(period);
  if (!zoned && asked.zone !== '' && asked.zone !== 'UTC') {
    throw invalid('zone', `none for the period ${period}: only days, weeks and months have one`);
  }
  return {
    unit: units.indexOf(unit) + 1,
    amount: readAmount('amount', asked.amount, 0n),
    period: periods.indexOf(period),
    zone: asked.zone || 'UTC',
    soft,
    hard: mode === 'hard',
  };
}

/** @throws Problem INVALID_ARGUMENT */
function readAmount(field: string, value: string, min: bigint): string {
  const amount = BigInt(value);
  if (amount < min || amount > AMOUNT_MAX) throw invalid(field, `a whole number from ${min} to ${AMOUNT_MAX}`);
  return amount.toString();
}

/** The digits of `lim_7`. @throws Problem INVALID_ARGUMENT */
function readLimitId(value: string): string {
  const id = /^lim_(\d{1,18})$/.exec(value)?.[1];
  if (id === undefined) throw invalid('limit_id', 'the id of a limit, for example lim_7');
  return id;
}

async function requireZone(manager: EntityManager, zone: string): Promise<void> {
  const [there] = await manager.query<unknown[]>('select from pg_timezone_names where name = $1', [zone]);
  if (there === undefined) throw invalid('zone', 'a time zone of the IANA database, for example Europe/Berlin');
}

interface Row extends Ceiling {
  readonly row_id: string;
}

/** The row of the running period, if it was needed already. */
async function currentRow(manager: EntityManager, limitId: string): Promise<Row | undefined> {
  const [row] = await manager.query<Row[]>(
    `select p.row_id::text, p.ceiling::text, p.extra::text, p.extra_until
       from limits l cross join lateral period_bounds(l.period, l.zone, l.week_start, budget_clock()) w
         join periods p on p.limit_id = l.limit_id and p.starts = w.starts
       where l.limit_id = $1`,
    [limitId],
  );
  return row;
}

async function makeRow(manager: EntityManager, limitId: string): Promise<Row> {
  await manager.query(
    `insert into periods (row_id, limit_id, account_id, starts, ends, ceiling, soft, hard, unit, extra, extra_until)
       select nextval('row_seq'), l.limit_id, l.account_id, w.starts, w.ends, l.amount, soft_mark(l.amount, l.soft_percent), l.hard, l.unit,
           l.extra, l.extra_until
         from limits l cross join lateral period_bounds(l.period, l.zone, l.week_start, budget_clock()) w where l.limit_id = $1`,
    [limitId],
  );
  return (await currentRow(manager, limitId)) as Row;
}

async function changeRow(manager: EntityManager, before: Row, to: Partial<Ceiling>): Promise<CeilingChange> {
  const after: Ceiling = { ceiling: before.ceiling, extra: before.extra, extra_until: before.extra_until, ...to };
  await manager.query(
    `update periods p set ceiling = $2, extra = $3, extra_until = $4, soft = soft_mark($2, l.soft_percent)
       from limits l where p.row_id = $1 and l.limit_id = p.limit_id`,
    [before.row_id, after.ceiling, after.extra, after.extra_until],
  );
  return { rowId: before.row_id, before, after };
}

/** The rows of the running period and of those that were made ahead. */
function openRows(manager: EntityManager, limitId: string): Promise<Row[]> {
  return manager.query<Row[]>(
    `select row_id::text, ceiling::text, extra::text, extra_until from periods where limit_id = $1 and ends > budget_clock() order by starts`,
    [limitId],
  );
}

/** What a period was topped up by stays. */
async function changeAmount(
  manager: EntityManager,
  limitId: string,
  { amount, soft }: Wanted,
): Promise<CeilingChange[]> {
  const [limit] = await manager.query<[{ amount: string }]>('select amount::text from limits where limit_id = $1', [
    limitId,
  ]);
  await manager.query('update limits set amount = $2, soft_percent = $3 where limit_id = $1', [limitId, amount, soft]);
  const changes = [];
  for (const row of await openRows(manager, limitId)) {
    const ceiling = BigInt(row.ceiling) - BigInt(limit.amount) + BigInt(amount);
    changes.push(await changeRow(manager, row, { ceiling: String(ceiling) }));
  }
  return changes;
}

/** One entry for each row that was changed, one at least. */
async function recordAll(
  manager: EntityManager,
  by: Caller,
  change: BudgetChange,
  rows: readonly CeilingChange[],
): Promise<void> {
  if (rows.length === 0) await record(manager, by, change);
  for (const row of rows) await record(manager, by, { ...change, row });
}
