import { Problem } from '@sluice/problem';
import type { EntityManager } from 'typeorm';
import { modes, periods, units, type Mode, type Period, type Unit } from './units.js';

/** An account as it is now. */
export interface AccountRecord {
  readonly id: string;
  readonly tenant: string;
  /** Empty for the root. */
  readonly parent: string;
  readonly level: number;
  readonly name: string;
  readonly path: string;
  /** It or an account above it is closed. */
  readonly closed: boolean;
  readonly createdUs: string;
}

/** A limit and its running period; counts are the decimal text of an int64. */
export interface LimitRecord {
  readonly id: string;
  readonly accountId: string;
  readonly tenant: string;
  readonly path: string;
  readonly unit: Unit;
  readonly amount: string;
  readonly period: Period;
  readonly zone: string;
  readonly softPercent: number;
  readonly mode: Mode;
  readonly extra: string;
  /** Microseconds since the epoch. */
  readonly extraUntilUs: string | null;
  readonly used: string;
  readonly ceiling: string;
  readonly remaining: string;
  readonly startsUs: string | null;
  readonly endsUs: string | null;
}

type Querying = Pick<EntityManager, 'query'>;

const micros = (at: string) => `(extract(epoch from ${at}) * 1000000)::bigint::text`;

export const accountColumns = `a.account_id::text as id, a.tenant, coalesce(a.parent::text, '') as parent, a.level::int, a.name,
    account_path(a.account_id) as path, ${micros('a.create_time')} as "createdUs",
    (with recursive up as (
       select u.parent, u.state from accounts u where u.account_id = a.account_id
       union all select u.parent, u.state from up join accounts u on u.account_id = up.parent)
     select bool_or(up.state = 2) from up) as closed`;

/** @throws Problem NOT_FOUND */
export async function findAccount(
  manager: Querying,
  tenant: string,
  reference: string,
  field = 'account',
): Promise<AccountRecord> {
  const [account] = await manager.query<AccountRecord[]>(
    `select ${accountColumns} from accounts a where a.account_id = find_account($1, $2)`,
    [tenant, reference],
  );
  if (account !== undefined) return account;
  const what = reference === '' ? `The tenant ${tenant} has no accounts` : `There is no account ${reference}`;
  throw new Problem('NOT_FOUND', `${what}.`, { details: { field } });
}

export async function readAccountById(manager: Querying, id: string): Promise<AccountRecord> {
  const [account] = await manager.query<AccountRecord[]>(
    `select ${accountColumns} from accounts a where a.account_id = $1`,
    [id],
  );
  return account as AccountRecord;
}

interface Row extends Omit<LimitRecord, 'unit' | 'period' | 'mode'> {
  readonly unit: number;
  readonly period: number;
  readonly hard: boolean;
}

/** The running period of a limit may have no row yet: then nothing is used of it. */
const limitColumns = `l.limit_id::text as id, l.account_id::text as "accountId", a.tenant, account_path(l.account_id) as path, l.unit::int,
    l.amount::text, l.period::int, l.zone, l.soft_percent::int as "softPercent", l.hard,
    case when l.extra_until > now.at then l.extra else 0 end::text as extra,
    case when l.extra_until > now.at then ${micros('l.extra_until')} end as "extraUntilUs",
    coalesce(p.used, 0)::text as used, c.ceiling::text, greatest(c.ceiling - coalesce(p.used, 0), 0)::text as remaining,
    case when isfinite(w.starts) then ${micros('w.starts')} end as "startsUs",
    case when isfinite(w.ends) then ${micros('w.ends')} end as "endsUs"`;

const limitsFrom = `limits l join accounts a on a.account_id = l.account_id
    cross join lateral (select budget_clock() as at) now
    cross join lateral period_bounds(l.period, l.zone, l.week_start, now.at) w
    left join periods p on p.limit_id = l.limit_id and p.starts = w.starts
    cross join lateral (
      select coalesce(p.ceiling, l.amount) + case when l.extra_until > now.at then l.extra else 0 end as ceiling) c`;

/** @param accounts their ids; the limits of each in the order of these */
export async function limitsOf(manager: Querying, accounts: readonly string[]): Promise<LimitRecord[]> {
  const rows = await manager.query<Row[]>(
    `select ${limitColumns} from unnest($1::bigint[]) with ordinality x (account_id, position)
       join (${limitsFrom}) on l.account_id = x.account_id order by x.position, l.unit, l.period, l.limit_id`,
    [accounts],
  );
  return rows.map(toRecord);
}

/** @param id digits alone. @throws Problem NOT_FOUND */
export async function readLimit(manager: Querying, id: string): Promise<LimitRecord> {
  const [row] = await manager.query<Row[]>(`select ${limitColumns} from ${limitsFrom} where l.limit_id = $1`, [id]);
  if (row === undefined) throw new Problem('NOT_FOUND', `There is no limit lim_${id}.`);
  return toRecord(row);
}

function toRecord({ hard, ...row }: Row): LimitRecord {
  return {
    ...row,
    unit: units[row.unit - 1] as Unit,
    period: periods[row.period] as Period,
    mode: hard ? modes[0] : modes[1],
  };
}
