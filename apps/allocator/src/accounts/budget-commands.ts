import { createInterface } from 'node:readline/promises';
import { installFunctions } from '../batch/functions.js';
import { migrations } from '../migrations/index.js';
import { type AllocatorSettings, allocatorSettings } from '../settings.js';
import { readSettings } from '@sluice/config';
import { Problem } from '@sluice/problem';
import type { Call, Caller } from '@sluice/service';
import { openDatabase } from '@sluice/storage';
import { createLogger } from '@sluice/telemetry';
import { Scopes } from '../allocations/scope.js';
import { Accounts } from './accounts.js';
import { type BudgetStep, diffBudgets, stepText } from './budget-diff.js';
import { readBudgetFile } from './budget-file.js';
import { Budgets, type AccountWithLimits } from './budgets.js';
import { Limits } from './limits.js';

const PAGE = 1000;
/** A command has no caller that could leave. */
const call = { deadline: undefined, signal: undefined } as unknown as Call;

/** Commands on accounts and limits, over the database: in the ledger they are by `npm run budget`. */
export class BudgetCommands {
  private readonly operator: Caller;

  private constructor(
    private readonly accounts: Accounts,
    private readonly limits: Limits,
    private readonly budgets: Budgets,
    settings: AllocatorSettings,
    readonly close: () => Promise<void>,
  ) {
    this.operator = {
      subject: 'npm run budget',
      tenant: settings.DEFAULT_TENANT,
      session: '',
      roles: ['admin'],
      scope: '',
      guest: false,
      account: '',
      key: '',
      models: [],
    };
  }

  static async open(url: string): Promise<BudgetCommands> {
    const settings = readSettings(allocatorSettings(), { ...process.env, ALLOCATOR_DATABASE_URL: url });
    const dataSource = await openDatabase({
      url,
      schema: 'budget',
      applicationName: 'sluice-budget',
      poolSize: 1,
      poolTimeoutMs: 5000,
      migrations,
    });
    await installFunctions(dataSource);
    const scopes = new Scopes(settings);
    const accounts = new Accounts(dataSource, settings, createLogger('budget', 'warn'), scopes);
    return new BudgetCommands(
      accounts,
      new Limits(dataSource, settings, scopes, accounts),
      new Budgets(dataSource, scopes),
      settings,
      () => dataSource.destroy(),
    );
  }

  /** Every account of a tenant with what is used of its limits. */
  async show(tenant: string): Promise<void> {
    const accounts = await this.all(tenant);
    if (accounts.length === 0) console.log(`The tenant ${tenant || this.operator.tenant} has no accounts.`);
    for (const { path, id, closed, limits } of accounts.toSorted((one, other) => (one.path < other.path ? -1 : 1))) {
      console.log(`${path || '-'}  acc_${id}${closed ? '  closed' : ''}`);
      for (const limit of limits) {
        const resets =
          limit.endsUs === null ? '' : `, until ${new Date(Number(BigInt(limit.endsUs) / 1000n)).toISOString()}`;
        const kind = `${limit.unit} a ${limit.period}${limit.mode === 'soft' ? ', soft' : ''}`;
        console.log(`    lim_${limit.id}  ${limit.used} of ${limit.ceiling} ${kind}${resets}`);
      }
    }
  }

  /**
   * Shows what would make the accounts as the file says, and does it when that is wanted.
   *
   * @returns the exit code: 0 when they are so now, 1 when not
   */
  async apply(file: string, options: { readonly yes: boolean; readonly prune: boolean }): Promise<number> {
    const wanted = readBudgetFile(file);
    const there: AccountWithLimits[] = [];
    for (const tenant of new Set(wanted.map((account) => account.tenant))) there.push(...(await this.all(tenant)));
    const steps = diffBudgets(wanted, there, options.prune);
    for (const step of steps) console.log(stepText(step));
    if (steps.length === 0) {
      console.log('Everything is as the file says.');
      return 0;
    }
    if (!options.yes && !(await agreed(steps.length))) return 1;
    for (const step of steps) {
      await this.take(step).catch((error: unknown) => {
        if (error instanceof Problem) throw new Error(`${stepText(step)}: ${error.message}`, { cause: error });
        throw error;
      });
    }
    console.log(`${steps.length} ${steps.length === 1 ? 'change' : 'changes'} made.`);
    return 0;
  }

  private async take(step: BudgetStep): Promise<void> {
    const { tenant, path } = step;
    const account = path || '-';
    const at = path.lastIndexOf('/');
    switch (step.kind) {
      case 'create account':
        await this.accounts.create(call, this.operator, {
          tenant,
          parent: at < 0 ? '-' : path.slice(0, at),
          name: path.slice(at + 1),
        });
        return;
      case 'close account':
        await this.accounts.setState(call, this.operator, { tenant, account }, 'closed');
        return;
      case 'set limit':
        await this.limits.set(call, this.operator, { tenant, account, ...step.limit });
        return;
      case 'delete limit':
        await this.limits.delete(call, this.operator, `lim_${step.before.id}`);
        return;
    }
  }

  private async all(tenant: string): Promise<AccountWithLimits[]> {
    const found: AccountWithLimits[] = [];
    for (let page_token = ''; ;) {
      const page = await this.budgets.page(call, this.operator, { tenant, page_size: PAGE, page_token });
      found.push(...page.accounts);
      page_token = page.nextPageToken;
      if (page_token === '') return found;
    }
  }
}

async function agreed(changes: number): Promise<boolean> {
  if (!process.stdin.isTTY) {
    console.log('Nothing was changed: run it with --yes to make these changes.');
    return false;
  }
  const lines = createInterface({ input: process.stdin, output: process.stdout });
  const answer = await lines.question(`Make ${changes === 1 ? 'this change' : `these ${changes} changes`}? [y/N] `);
  lines.close();
  return /^y(es)?$/i.test(answer.trim());
}
