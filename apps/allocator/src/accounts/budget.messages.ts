import type { budgetV1 } from '@sluice/contract';
import type { AccountRecord, LimitRecord } from './account-reader.js';
import type { AccountPage, BudgetRecord } from './budgets.js';

/** Records in the form of the contract. */

export function toLimit(record: LimitRecord): budgetV1.Limit {
  return {
    limit_id: `lim_${record.id}`,
    account: record.path,
    account_id: `acc_${record.accountId}`,
    unit: record.unit,
    amount: record.amount,
    period: record.period,
    zone: record.zone,
    soft_percent: record.softPercent,
    mode: record.mode,
    extra: record.extra,
    extra_until: timestamp(record.extraUntilUs),
    used: record.used,
    ceiling: record.ceiling,
    remaining: record.remaining,
    resets_at: timestamp(record.endsUs),
  };
}

export function toAccount(record: AccountRecord, limits: readonly LimitRecord[] = []): budgetV1.Account {
  return {
    account_id: `acc_${record.id}`,
    path: record.path,
    tenant: record.tenant,
    parent: record.parent === '' ? '' : `acc_${record.parent}`,
    name: record.name,
    state: record.closed ? 2 : 1,
    create_time: timestamp(record.createdUs),
    limits: limits.map(toLimit),
  };
}

export function toAccountPage({ accounts, nextPageToken }: AccountPage): budgetV1.ListAccountsResponse {
  return { accounts: accounts.map((one) => toAccount(one, one.limits)), next_page_token: nextPageToken };
}

export function toBudget({ account, limits }: BudgetRecord): budgetV1.Budget {
  return {
    account_id: account === undefined ? '' : `acc_${account.id}`,
    path: account?.path ?? '',
    limits: limits.map(toLimit),
  };
}

function timestamp(us: string | null) {
  if (us === null) return undefined;
  const all = BigInt(us);
  return { seconds: String(all / 1_000_000n), nanos: Number(all % 1_000_000n) * 1000 };
}
