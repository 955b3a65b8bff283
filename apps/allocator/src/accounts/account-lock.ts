import type { Caller } from '@sluice/service';
import type { EntityManager } from 'typeorm';

/**
 * The lock of the batches, for a change of accounts and limits: what is decided before it and after it is told apart exactly, whatever
 * replica decides.
 *
 * @returns the number of the change, in the order of the batches
 */
export async function lockAccounts(manager: EntityManager): Promise<string> {
  const [settings] = await manager.query<[{ accounted: boolean }]>('select accounted from settings for no key update');
  if (!settings.accounted) throw new Error('accounts are changed before there are any');
  const [row] = await manager.query<[{ batch: string }]>(`select nextval('batch_seq')::text as batch`);
  return row.batch;
}

/** From the first account on, every batch takes the lock; so no batch that began before may be under way. */
export async function beginAccounts(manager: EntityManager): Promise<void> {
  const [settings] = await manager.query<[{ accounted: boolean }]>('select accounted from settings');
  if (settings.accounted) return;
  await manager.query('select from nodes order by node_id for no key update');
  await manager.query('update settings set accounted = true');
}

/** Which of a limit's running period was changed, with its ceiling before and after; nulls where there is none. */
export interface CeilingChange {
  readonly rowId: string;
  readonly before: Ceiling;
  readonly after: Ceiling;
}

export interface Ceiling {
  readonly ceiling: string;
  readonly extra: string;
  readonly extra_until: Date | null;
}

/** What was done to an account or a limit, and by whom. */
export interface BudgetChange {
  readonly batch: string;
  readonly action: string;
  readonly tenant: string;
  readonly accountId: string;
  readonly limitId?: string;
  readonly row?: CeilingChange | undefined;
  readonly detail: object;
}

/** Writes a change into the ledger of accounts and limits. */
export async function record(manager: EntityManager, by: Caller, change: BudgetChange): Promise<void> {
  const { batch, action, tenant, accountId, limitId = null, row, detail } = change;
  await manager.query(
    `insert into budget_changes (batch, at, action, tenant, account_id, limit_id, row_id, ceiling_before, ceiling_after, extra_before,
         extra_after, extra_until_before, extra_until_after, actor_tenant, actor, detail)
       values ($1, clock_timestamp(), $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`,
    [
      batch,
      action,
      tenant,
      accountId,
      limitId,
      row?.rowId ?? null,
      row?.before.ceiling ?? null,
      row?.after.ceiling ?? null,
      row?.before.extra ?? null,
      row?.after.extra ?? null,
      row?.before.extra_until ?? null,
      row?.after.extra_until ?? null,
      by.tenant,
      by.subject,
      JSON.stringify(detail),
    ],
  );
}
