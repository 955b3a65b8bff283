import { Controller } from '@nestjs/common';
import { budgetV1 } from '@sluice/contract';
import { currentCall, currentCaller } from '@sluice/service';
import { Accounts } from './accounts/accounts.js';
import { toAccount, toAccountPage, toBudget, toLimit } from './accounts/budget.messages.js';
import { Budgets } from './accounts/budgets.js';
import { Limits } from './accounts/limits.js';

@Controller()
@budgetV1.BudgetServiceControllerMethods()
export class BudgetController implements budgetV1.BudgetServiceController {
  constructor(
    private readonly accounts: Accounts,
    private readonly limits: Limits,
    private readonly budgets: Budgets,
  ) {}

  async getBudget({ account }: budgetV1.GetBudgetRequest): Promise<budgetV1.Budget> {
    return toBudget(await this.budgets.own(currentCall(), currentCaller(), account));
  }

  async createAccount(request: budgetV1.CreateAccountRequest): Promise<budgetV1.Account> {
    return toAccount(await this.accounts.create(currentCall(), currentCaller(), request));
  }

  async getAccount(request: budgetV1.GetAccountRequest): Promise<budgetV1.Account> {
    const account = await this.budgets.get(currentCall(), currentCaller(), request);
    return toAccount(account, account.limits);
  }

  async listAccounts(request: budgetV1.ListAccountsRequest): Promise<budgetV1.ListAccountsResponse> {
    return toAccountPage(await this.budgets.page(currentCall(), currentCaller(), request));
  }

  async updateAccount(request: budgetV1.UpdateAccountRequest): Promise<budgetV1.Account> {
    return toAccount(await this.accounts.update(currentCall(), currentCaller(), request));
  }

  async closeAccount(request: budgetV1.CloseAccountRequest): Promise<budgetV1.Account> {
    return toAccount(await this.accounts.setState(currentCall(), currentCaller(), request, 'closed'));
  }

  async reopenAccount(request: budgetV1.ReopenAccountRequest): Promise<budgetV1.Account> {
    return toAccount(await this.accounts.setState(currentCall(), currentCaller(), request, 'open'));
  }

  async deleteAccount(request: budgetV1.DeleteAccountRequest): Promise<budgetV1.Account> {
    return toAccount(await this.accounts.delete(currentCall(), currentCaller(), request));
  }

  async setLimit(request: budgetV1.SetLimitRequest): Promise<budgetV1.Limit> {
    return toLimit(await this.limits.set(currentCall(), currentCaller(), request));
  }

  async deleteLimit(request: budgetV1.DeleteLimitRequest): Promise<budgetV1.Limit> {
    return toLimit(await this.limits.delete(currentCall(), currentCaller(), request.limit_id));
  }

  async overrideLimit({ until, ...request }: budgetV1.OverrideLimitRequest): Promise<budgetV1.Limit> {
    // A message that was not given is null.
    const untilUs = until ? BigInt(until.seconds) * 1_000_000n + BigInt(Math.floor(until.nanos / 1000)) : undefined;
    return toLimit(await this.limits.override(currentCall(), currentCaller(), { ...request, untilUs }));
  }

  async topUpLimit(request: budgetV1.TopUpLimitRequest): Promise<budgetV1.Limit> {
    return toLimit(await this.limits.topUp(currentCall(), currentCaller(), request));
  }
}
