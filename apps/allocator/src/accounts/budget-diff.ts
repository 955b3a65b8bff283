import type { LimitRecord } from './account-reader.js';
import type { FileAccount, FileLimit } from './budget-file.js';
import type { AccountWithLimits } from './budgets.js';

/** One thing to do so that the accounts are as a file says. */
export type BudgetStep =
  | { readonly kind: 'create account'; readonly tenant: string; readonly path: string }
  | {
      readonly kind: 'set limit';
      readonly tenant: string;
      readonly path: string;
      readonly limit: FileLimit;
      readonly before?: LimitRecord;
    }
  | { readonly kind: 'delete limit'; readonly tenant: string; readonly path: string; readonly before: LimitRecord }
  | { readonly kind: 'close account'; readonly tenant: string; readonly path: string };

/**
 * What makes the accounts of the file's tenants as the file says: an account that is named gets exactly the limits that it names.
 *
 * @param there the accounts of the tenants that the file names
 * @param prune closes accounts that the file does not name; without it they are left alone
 */
export function diffBudgets(
  file: readonly FileAccount[],
  there: readonly AccountWithLimits[],
  prune: boolean,
): BudgetStep[] {
  const steps: BudgetStep[] = [];
  const known = new Map(there.map((account) => [keyOf(account), account]));
  for (const { tenant, path, limits } of file) {
    const account = known.get(keyOf({ tenant, path }));
    // The root comes with its first account or limit.
    if (account === undefined && path !== '') steps.push({ kind: 'create account', tenant, path });
    const before = new Map(account?.limits.map((limit) => [kindOf(limit), limit]));
    for (const limit of limits) {
      const old = before.get(kindOf(limit));
      before.delete(kindOf(limit));
      if (old?.amount === limit.amount && old.softPercent === limit.soft_percent) continue;
      steps.push({ kind: 'set limit', tenant, path, limit, ...(old && { before: old }) });
    }
    for (const old of before.values()) steps.push({ kind: 'delete limit', tenant, path, before: old });
  }
  if (!prune) return steps;
  const named = new Set(file.map(keyOf));
  for (const account of there) {
    if (named.has(keyOf(account)) || account.closed || account.path === '') continue;
    steps.push({ kind: 'close account', tenant: account.tenant, path: account.path });
  }
  return steps;
}

/** A step as a line: `+` makes, `~` changes, `-` takes away. */
export function stepText(step: BudgetStep): string {
  const where = `${step.tenant}:${step.path || '-'}`;
  switch (step.kind) {
    case 'create account':
      return `+ account ${where}`;
    case 'close account':
      return `- account ${where} (closed)`;
    case 'set limit': {
      const { limit, before } = step;
      const warns = `warns at ${limit.soft_percent} %`;
      if (before === undefined) return `+ limit   ${where} ${limit.amount} ${describe(limit)}, ${warns}`;
      const soft =
        before.softPercent === limit.soft_percent ? '' : `, warns at ${before.softPercent} -> ${limit.soft_percent} %`;
      return `~ limit   ${where} ${before.amount} -> ${limit.amount} ${describe(limit)}${soft} (used ${before.used})`;
    }
    case 'delete limit':
      return `- limit   ${where} ${step.before.amount} ${describe(step.before)} (used ${step.before.used})`;
  }
}

function describe({ unit, period, zone, mode }: Pick<LimitRecord, 'unit' | 'period' | 'zone' | 'mode'>): string {
  return `${unit}, ${period}${zone === 'UTC' ? '' : `, ${zone}`}${mode === 'soft' ? ', soft' : ''}`;
}

const keyOf = ({ tenant, path }: { readonly tenant: string; readonly path: string }) => `${tenant}\n${path}`;
const kindOf = ({ unit, period, zone, mode }: Pick<LimitRecord, 'unit' | 'period' | 'zone' | 'mode'>) =>
  [unit, period, zone, mode].join();
