import { Inject, Injectable } from '@nestjs/common';
import { Problem } from '@sluice/problem';
import { type Call, type Caller, LOGGER } from '@sluice/service';
import { transaction } from '@sluice/storage';
import type { Logger } from '@sluice/telemetry';
import { DataSource, type EntityManager } from 'typeorm';
import { readAccount } from '../allocations/reading.js';
import { Scopes } from '../allocations/scope.js';
import { type AllocatorSettings, SETTINGS } from '../settings.js';
import { beginAccounts, lockAccounts, record } from './account-lock.js';
import { type AccountRecord, findAccount, readAccountById } from './account-reader.js';
import { AMOUNT_MAX, LEVELS_MAX } from './units.js';

const states = { open: 1, closed: 2 } as const;
/** Whom guests are charged to. */
const GUESTS = 'guests';

/** What names an account in a request: `-` for the root, else as Allocate takes it. */
export interface AccountName {
  readonly account: string;
  readonly tenant: string;
}

/** The accounts of a tenant, and how they are changed: under the lock of the batches, so that a change holds for all after it. */
@Injectable()
export class Accounts {
  constructor(
    @Inject(DataSource) private readonly dataSource: DataSource,
    @Inject(SETTINGS) private readonly settings: AllocatorSettings,
    @Inject(LOGGER) private readonly logger: Logger,
    private readonly scopes: Scopes,
  ) {}

  /** @throws Problem ALREADY_EXISTS, NOT_FOUND for the parent, FAILED_PRECONDITION beyond five levels */
  create(
    call: Call,
    caller: Caller,
    asked: { readonly name: string; readonly parent: string; readonly tenant: string },
  ): Promise<AccountRecord> {
    const tenant = this.scopes.tenantOf(caller, asked.tenant);
    const name = readAccountName(asked.name);
    return transaction(this.dataSource, call, async (manager) => {
      await this.requireRoot(manager, caller, tenant);
      const batch = await lockAccounts(manager);
      const parent = await findAccount(manager, tenant, readReference('parent', asked.parent), 'parent');
      const accountId = await insert(manager, tenant, parent, name);
      await record(manager, caller, { batch, action: 'create account', tenant, accountId, detail: { name } });
      return readAccountById(manager, accountId);
    });
  }

  /** @throws Problem NOT_FOUND, ALREADY_EXISTS, FAILED_PRECONDITION for a parent below the account or beyond five levels */
  update(
    call: Call,
    caller: Caller,
    asked: AccountName & { readonly name?: string | undefined; readonly parent?: string | undefined },
  ): Promise<AccountRecord> {
    const tenant = this.scopes.tenantOf(caller, asked.tenant);
    return this.change(call, caller, { ...asked, tenant }, 'update account', async (manager, account) => {
      if (account.parent === '')
        throw new Problem('FAILED_PRECONDITION', 'The root has no name, and nothing is above it.');
      const name = asked.name === undefined ? account.name : readAccountName(asked.name);
      const parent =
        asked.parent === undefined
          ? await readAccountById(manager, account.parent)
          : await findAccount(manager, tenant, readReference('parent', asked.parent), 'parent');
      await requireFree(manager, tenant, parent, name, account.id);
      await move(manager, account, parent, name);
      return { name, parent: `acc_${parent.id}` };
    });
  }

  setState(call: Call, caller: Caller, asked: AccountName, state: keyof typeof states): Promise<AccountRecord> {
    return this.change(
      call,
      caller,
      asked,
      state === 'open' ? 'reopen account' : 'close account',
      async (manager, account) => {
        if (account.parent === '') this.scopes.requireOperator(caller);
        await manager.query('update accounts set state = $2 where account_id = $1', [account.id, states[state]]);
        return {};
      },
    );
  }

  /** @throws Problem NOT_FOUND, FAILED_PRECONDITION while something is below it or reserved by it */
  async delete(call: Call, caller: Caller, asked: AccountName): Promise<AccountRecord> {
    let gone: AccountRecord | undefined;
    await this.change(call, caller, asked, 'delete account', async (manager, account) => {
      if (account.parent === '') this.scopes.requireOperator(caller);
      await requireEmpty(manager, account);
      gone = account;
      await manager.query('delete from limits where account_id = $1', [account.id]);
      await manager.query('delete from accounts where account_id = $1', [account.id]);
      return { path: account.path };
    });
    return gone as AccountRecord;
  }

  /** The root of a tenant, made when it is not there yet, with an account for its guests. */
  async requireRoot(manager: EntityManager, caller: Caller, tenant: string): Promise<void> {
    await beginAccounts(manager);
    const batch = await lockAccounts(manager);
    const [there] = await manager.query<unknown[]>(`select from accounts where tenant = $1 and parent is null`, [
      tenant,
    ]);
    if (there !== undefined) return;
    const [root] = await manager.query<[{ id: string }]>(
      `insert into accounts (tenant, parent, level, name) values ($1, null, 0, '') returning account_id::text as id`,
      [tenant],
    );
    await record(manager, caller, {
      batch,
      action: 'create account',
      tenant,
      accountId: root.id,
      detail: { root: true },
    });
    await manager.query(`delete from leaf_current where tenant = $1`, [tenant]);
    const asked = this.settings.ALLOC_GUEST_TOKENS_PER_DAY;
    const daily = asked > AMOUNT_MAX ? AMOUNT_MAX : asked;
    if (daily > 0n) {
      const guests = await insert(manager, tenant, { id: root.id, level: 0 }, GUESTS);
      await manager.query(
        `insert into limits (account_id, unit, amount, period, zone, week_start, soft_percent, hard) values ($1, 1, $2, 3, 'UTC', 1, 80, true)`,
        [guests, String(daily)],
      );
      await record(manager, caller, {
        batch,
        action: 'create account',
        tenant,
        accountId: guests,
        detail: { name: GUESTS },
      });
    }
    this.logger.info({ tenant }, 'the tenant has accounts from now on');
  }

  private change(
    call: Call,
    caller: Caller,
    asked: AccountName,
    action: string,
    work: (manager: EntityManager, account: AccountRecord) => Promise<object>,
  ): Promise<AccountRecord> {
    const tenant = this.scopes.tenantOf(caller, asked.tenant);
    const reference = readReference('account', asked.account);
    return transaction(this.dataSource, call, async (manager) => {
      await findAccount(manager, tenant, reference);
      const batch = await lockAccounts(manager);
      const account = await findAccount(manager, tenant, reference);
      const detail = await work(manager, account);
      // Whoever was charged by the old tree is looked up anew.
      await manager.query('delete from leaf_current where tenant = $1', [tenant]);
      await record(manager, caller, { batch, action, tenant, accountId: account.id, detail });
      return action === 'delete account' ? account : readAccountById(manager, account.id);
    });
  }
}

/** An account's name in a request: `-` and nothing are the root. */
export function readReference(field: string, value: string): string {
  return value === '-' ? '' : readAccount(field, value);
}

const NAME_CHARACTERS_MAX = 100;

/** @throws Problem INVALID_ARGUMENT */
function readAccountName(value: string): string {
  const characters = [...value].length;
  const taken = value.startsWith('acc_') || value === '-' || value !== value.trim();
  if (characters < 1 || characters > NAME_CHARACTERS_MAX || /[/\p{Control}\p{Surrogate}]/u.test(value) || taken) {
    throw new Problem(
      'INVALID_ARGUMENT',
      `name: expected 1 to ${NAME_CHARACTERS_MAX} characters without "/", no space around them, neither "-" nor beginning with "acc_"`,
      { details: { field: 'name' } },
    );
  }
  return value;
}

async function insert(
  manager: EntityManager,
  tenant: string,
  parent: { readonly id: string; readonly level: number },
  name: string,
): Promise<string> {
  if (parent.level >= LEVELS_MAX) throw tooDeep();
  await requireFree(manager, tenant, parent, name);
  const [row] = await manager.query<[{ id: string }]>(
    `insert into accounts (tenant, parent, level, name) values ($1, $2, $3, $4) returning account_id::text as id`,
    [tenant, parent.id, parent.level + 1, name],
  );
  return row.id;
}

function tooDeep(): Problem {
  return new Problem('FAILED_PRECONDITION', `Accounts are at most ${LEVELS_MAX} levels below the root.`);
}

async function requireFree(
  manager: EntityManager,
  tenant: string,
  parent: { readonly id: string },
  name: string,
  but = '0',
): Promise<void> {
  const [there] = await manager.query<{ id: string }[]>(
    `select account_id::text as id from accounts where tenant = $1 and coalesce(parent, 0) = $2 and name = $3`,
    [tenant, parent.id, name],
  );
  if (there === undefined || there.id === but) return;
  throw new Problem('ALREADY_EXISTS', `There is an account ${name} there already (acc_${there.id}).`);
}

async function move(
  manager: EntityManager,
  account: AccountRecord,
  parent: { readonly id: string; readonly level: number },
  name: string,
): Promise<void> {
  const below = await manager.query<{ id: string; depth: number }[]>(
    `with recursive down as (
         select account_id, 0 as depth from accounts where account_id = $1
         union all select a.account_id, down.depth + 1 from down join accounts a on a.parent = down.account_id)
       select account_id::text as id, depth from down`,
    [account.id],
  );
  if (below.some(({ id }) => id === parent.id)) {
    throw new Problem('FAILED_PRECONDITION', 'An account cannot be moved below itself.');
  }
  const level = parent.level + 1;
  if (level + Math.max(...below.map(({ depth }) => depth)) > LEVELS_MAX) throw tooDeep();
  await manager.query('update accounts set parent = $2, name = $3 where account_id = $1', [
    account.id,
    parent.id,
    name,
  ]);
  await manager.query('update accounts set level = level + $2 where account_id = any ($1::bigint[])', [
    below.map(({ id }) => id),
    level - account.level,
  ]);
}

async function requireEmpty(manager: EntityManager, account: AccountRecord): Promise<void> {
  const [row] = await manager.query<[{ below: boolean; reserved: boolean }]>(
    `select exists (select from accounts where parent = $1) as below,
         exists (select from charge_sets c join allocations a on a.set_id = c.set_id
           where c.account_id = $1 and a.state = 1) as reserved`,
    [account.id],
  );
  if (row.below) throw new Problem('FAILED_PRECONDITION', 'Accounts are below it: move or delete them first.');
  if (row.reserved) {
    throw new Problem(
      'FAILED_PRECONDITION',
      'Reservations are charged to it: close it, and delete it when they have ended.',
    );
  }
}
