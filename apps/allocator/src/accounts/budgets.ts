import { Inject, Injectable } from '@nestjs/common';
import type { Call, Caller } from '@sluice/service';
import { transaction } from '@sluice/storage';
import { DataSource } from 'typeorm';
import { accountProblem } from '../allocations/limit-problem.js';
import { invalid, readAccount } from '../allocations/reading.js';
import { Scopes } from '../allocations/scope.js';
import { referenceOf, resultsByCode } from '../batch/operation.js';
import {
  accountColumns,
  type AccountRecord,
  findAccount,
  limitsOf,
  type LimitRecord,
  readAccountById,
} from './account-reader.js';
import { type AccountName, readReference } from './accounts.js';

/** An account with its own limits. */
export interface AccountWithLimits extends AccountRecord {
  readonly limits: readonly LimitRecord[];
}

/** What a caller is charged by: the limits of its path, from the root down. */
export interface BudgetRecord {
  readonly account: AccountRecord | undefined;
  readonly limits: readonly LimitRecord[];
}

export interface AccountPage {
  readonly accounts: readonly AccountWithLimits[];
  /** Empty on the last page. */
  readonly nextPageToken: string;
}

const PAGE_USUAL = 100;
const PAGE_MAX = 1000;

/** Accounts and limits as they are now. */
@Injectable()
export class Budgets {
  constructor(
    @Inject(DataSource) private readonly dataSource: DataSource,
    private readonly scopes: Scopes,
  ) {}

  /** @throws Problem NOT_FOUND, PERMISSION_DENIED as Allocate does */
  own(call: Call, caller: Caller, asked: string): Promise<BudgetRecord> {
    const reference = referenceOf(caller.account, readAccount('account', asked), caller.guest);
    return transaction(this.dataSource, call, async (manager) => {
      const [found] = await manager.query<[{ state: number; account: string | null }]>(
        `select state, account::text from resolve_reference($1, $2)`,
        [caller.tenant, reference],
      );
      if (found.account === null && found.state === 0) return { account: undefined, limits: [] };
      // A closed account still shows what it has.
      if (found.state !== 1 && found.state !== 11) throw accountProblem(resultsByCode[found.state] ?? 'no account');
      const account = await readAccountById(manager, found.account as string);
      const path = await manager.query<{ id: string }[]>(
        `with recursive up as (
             select account_id, parent, level from accounts where account_id = $1
             union all select a.account_id, a.parent, a.level from up join accounts a on a.account_id = up.parent)
           select account_id::text as id from up order by level`,
        [account.id],
      );
      return {
        account,
        limits: await limitsOf(
          manager,
          path.map(({ id }) => id),
        ),
      };
    });
  }

  get(call: Call, caller: Caller, asked: AccountName): Promise<AccountWithLimits> {
    const tenant = this.scopes.tenantOf(caller, asked.tenant);
    return transaction(this.dataSource, call, async (manager) => {
      const account = await findAccount(manager, tenant, readReference('account', asked.account));
      return { ...account, limits: await limitsOf(manager, [account.id]) };
    });
  }

  page(
    call: Call,
    caller: Caller,
    asked: { readonly tenant: string; readonly page_size: number; readonly page_token: string },
  ): Promise<AccountPage> {
    const tenant = this.scopes.tenantOf(caller, asked.tenant);
    const { page_size: given, page_token: token } = asked;
    if (given < 0 || given > PAGE_MAX) throw invalid('page_size', `a whole number from 0 to ${PAGE_MAX}`);
    if (token !== '' && !/^acc_\d{1,18}$/.test(token))
      throw invalid('page_token', 'the next_page_token of the page before');
    const size = given || PAGE_USUAL;
    return transaction(this.dataSource, call, async (manager) => {
      const rows = await manager.query<AccountRecord[]>(
        `select ${accountColumns} from accounts a where a.tenant = $1 and a.account_id > $2 order by a.account_id limit $3`,
        [tenant, token === '' ? '0' : token.slice(4), size + 1],
      );
      const found = rows.slice(0, size);
      const limits = await limitsOf(
        manager,
        found.map(({ id }) => id),
      );
      return {
        accounts: found.map((account) => ({
          ...account,
          limits: limits.filter(({ accountId }) => accountId === account.id),
        })),
        nextPageToken: rows.length > size ? `acc_${found.at(-1)?.id}` : '',
      };
    });
  }
}
