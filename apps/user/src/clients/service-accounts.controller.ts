import { createPublicKey, randomUUID } from 'node:crypto';
import { Controller, Inject } from '@nestjs/common';
import { machinesV1 } from '@sluice/contract';
import { Problem } from '@sluice/problem';
import { type Call, currentCall, currentCaller } from '@sluice/service';
import { transaction } from '@sluice/storage';
import { DataSource, type EntityManager } from 'typeorm';
import { invalid } from '../accounts/credentials.js';
import { pageSize } from '../admin/admin.controller.js';
import { onlyOperators, OPERATOR_ROLE, readRoles } from '../admin/user-changes.js';
import { readLifetime, readName } from '../api-keys/api-keys.js';
import { readScopes } from '../api-keys/restrictions.js';
import { type AuditAction, AuditLog } from '../audit/audit-log.js';
import { UUID } from '../sessions/sessions.js';
import { SETTINGS, type UserSettings } from '../settings.js';
import { toTimestamp } from '../user.controller.js';
import { assertionAlgorithms, type AssertionAlgorithm } from './assertion.js';
import { clientSecretDigest, newClientSecret } from './client-secret.js';
import { type ServiceAccountRow, serviceAccountStore } from './service-account-store.js';

const FIRST_UUID = '00000000-0000-0000-0000-000000000000';
const ACCOUNTS_PER_TENANT_MAX = 1000;
/** The one in use, and the one that replaces it. */
const CREDENTIALS_MAX = 2;
const KID = /^[\w.-]{1,100}$/;
const RSA_BITS_MIN = 2048;
const AUDIENCES_MAX = 10;
const AUDIENCE = /^[\x21-\x7e]{1,255}$/;

/** What administrators do with the service accounts of their tenant. What ends with a change is told by triggers of the tables. */
@Controller()
@machinesV1.ServiceAccountServiceControllerMethods()
export class ServiceAccountsController implements machinesV1.ServiceAccountServiceController {
  constructor(
    private readonly dataSource: DataSource,
    private readonly audit: AuditLog,
    @Inject(SETTINGS) private readonly settings: UserSettings,
  ) {}

  async createServiceAccount(request: machinesV1.CreateServiceAccountRequest): Promise<machinesV1.ServiceAccount> {
    const [call, { tenant }] = [currentCall(), currentCaller()];
    const [id, name] = [randomUUID(), readName(request.name)];
    const grants = this.readGrants(request);
    await transaction(this.dataSource, call, async (manager) => {
      await manager.query('select from tenants where id = $1 for no key update', [tenant]);
      const [{ count }] = await manager.query<[{ count: number }]>(
        'select count(*)::int as count from service_accounts where tenant = $1',
        [tenant],
      );
      if (count >= ACCOUNTS_PER_TENANT_MAX) {
        throw new Problem('FAILED_PRECONDITION', `A tenant has at most ${ACCOUNTS_PER_TENANT_MAX} service accounts.`);
      }
      const [created] = await manager.query<unknown[]>(
        `insert into service_accounts (id, tenant, name, roles, scopes, audiences) values ($1, $2, $3, $4, $5, $6)
         on conflict (tenant, name) do nothing returning id`,
        [id, tenant, name, grants.roles, grants.scopes, grants.audiences],
      );
      if (!created) throw new Problem('ALREADY_EXISTS', 'There is a service account of this name.');
      await this.record(manager, call, 'service-account.create', id);
    });
    return this.found(id);
  }

  async listServiceAccounts(
    request: machinesV1.ListServiceAccountsRequest,
  ): Promise<machinesV1.ListServiceAccountsResponse> {
    const size = pageSize(request.page_size);
    const after = request.page_token === '' ? FIRST_UUID : request.page_token;
    if (!UUID.test(after)) throw invalid('page_token', 'must come from an earlier answer');
    const { tenant } = currentCaller();
    const rows = await serviceAccountStore.list(this.dataSource, currentCall(), tenant, after, size + 1);
    const accounts = rows.slice(0, size);
    return {
      service_accounts: accounts.map(toServiceAccount),
      next_page_token: rows.length > size ? (accounts.at(-1)?.id ?? '') : '',
    };
  }

  getServiceAccount({ account_id }: machinesV1.GetServiceAccountRequest): Promise<machinesV1.ServiceAccount> {
    return this.found(account_id);
  }

  setGrants(request: machinesV1.SetGrantsRequest): Promise<machinesV1.ServiceAccount> {
    const { roles, scopes, audiences } = this.readGrants(request);
    return this.change(request.account_id, 'service-account.grants', (manager) =>
      manager.query('update service_accounts set roles = $2, scopes = $3, audiences = $4 where id = $1', [
        request.account_id,
        roles,
        scopes,
        audiences,
      ]),
    );
  }

  lockServiceAccount({ account_id }: machinesV1.LockServiceAccountRequest): Promise<machinesV1.ServiceAccount> {
    return this.change(account_id, 'service-account.lock', (manager) =>
      manager.query(`update service_accounts set locked_at = coalesce(locked_at, clock_timestamp()) where id = $1`, [
        account_id,
      ]),
    );
  }

  unlockServiceAccount({ account_id }: machinesV1.UnlockServiceAccountRequest): Promise<machinesV1.ServiceAccount> {
    return this.change(account_id, 'service-account.unlock', (manager) =>
      manager.query(`update service_accounts set locked_at = null where id = $1`, [account_id]),
    );
  }

  async deleteServiceAccount({
    account_id,
  }: machinesV1.DeleteServiceAccountRequest): Promise<machinesV1.DeleteServiceAccountResponse> {
    await this.held(account_id, 'service-account.delete', (manager) =>
      manager.query('delete from service_accounts where id = $1', [account_id]),
    );
    return {};
  }

  async addSecret(request: machinesV1.AddSecretRequest): Promise<machinesV1.AddSecretResponse> {
    const seconds = readLifetime(request.expires_in_seconds);
    const secret = newClientSecret();
    const account = await this.change(request.account_id, 'service-account.secret', async (manager) => {
      await this.checkRoom(
        manager,
        request.account_id,
        `client_secrets where coalesce(expires_at, 'infinity') > clock_timestamp() and`,
      );
      await manager.query(
        `insert into client_secrets (id, account_id, digest, last_four, expires_at)
         values ($1, $2, $3, $4, case when $5::int > 0 then clock_timestamp() + $5::int * interval '1 second' end)`,
        [randomUUID(), request.account_id, clientSecretDigest(secret), secret.slice(-4), seconds],
      );
    });
    return { service_account: account, client_secret: secret };
  }

  removeSecret({ account_id, secret_id }: machinesV1.RemoveSecretRequest): Promise<machinesV1.ServiceAccount> {
    return this.change(account_id, 'service-account.secret', async (manager) => {
      const gone = UUID.test(secret_id)
        ? await removed(manager, 'client_secrets where account_id = $1 and id = $2', [account_id, secret_id])
        : 0;
      if (gone === 0) throw new Problem('NOT_FOUND', 'The service account has no such secret.');
    });
  }

  addPublicKey(request: machinesV1.AddPublicKeyRequest): Promise<machinesV1.ServiceAccount> {
    const { account_id, kid } = request;
    if (!KID.test(kid)) throw invalid('kid', 'must have 1 to 100 letters, digits, dots, underscores and dashes');
    const { alg, jwk } = readPublicKey(request);
    return this.change(account_id, 'service-account.public-key', async (manager) => {
      await this.checkRoom(manager, account_id, 'client_keys where');
      const [created] = await manager.query<unknown[]>(
        `insert into client_keys (account_id, kid, alg, jwk) values ($1, $2, $3, $4) on conflict do nothing returning kid`,
        [account_id, kid, alg, jwk],
      );
      if (!created) throw new Problem('ALREADY_EXISTS', 'The service account has a key of this kid.');
    });
  }

  removePublicKey({ account_id, kid }: machinesV1.RemovePublicKeyRequest): Promise<machinesV1.ServiceAccount> {
    return this.change(account_id, 'service-account.public-key', async (manager) => {
      const gone = await removed(manager, 'client_keys where account_id = $1 and kid = $2', [account_id, kid]);
      if (gone === 0) throw new Problem('NOT_FOUND', 'The service account has no such key.');
    });
  }

  private readGrants(request: { roles: string[]; scopes: string[]; audiences: string[] }) {
    const audiences = request.audiences.length > 0 ? [...new Set(request.audiences)] : [this.settings.TOKEN_AUDIENCE];
    if (audiences.length > AUDIENCES_MAX || !audiences.every((audience) => AUDIENCE.test(audience))) {
      throw invalid('audiences', `must be at most ${AUDIENCES_MAX}, of 1 to 255 characters without spaces`);
    }
    return { roles: readRoles(request.roles), scopes: readScopes(request.scopes), audiences };
  }

  private async change(
    id: string,
    action: AuditAction,
    update: (manager: EntityManager) => Promise<unknown>,
  ): Promise<machinesV1.ServiceAccount> {
    await this.held(id, action, update);
    return this.found(id);
  }

  /** One change of an account of the caller's tenant, and its record; all or nothing. Who is an operator is changed by operators alone. */
  private async held(id: string, action: AuditAction, update: (manager: EntityManager) => Promise<unknown>) {
    const [call, caller] = [currentCall(), currentCaller()];
    await transaction(this.dataSource, call, async (manager) => {
      const roles = UUID.test(id) ? await serviceAccountStore.holdRoles(manager, caller.tenant, id) : undefined;
      if (!roles) throw unknownAccount();
      if (roles.includes(OPERATOR_ROLE) && !caller.roles.includes(OPERATOR_ROLE)) throw onlyOperators();
      await update(manager);
      await this.record(manager, call, action, id);
    });
  }

  private async checkRoom(manager: EntityManager, id: string, from: string): Promise<void> {
    const [{ count }] = await manager.query<[{ count: number }]>(
      `select count(*)::int as count from ${from} account_id = $1`,
      [id],
    );
    if (count < CREDENTIALS_MAX) return;
    throw new Problem(
      'FAILED_PRECONDITION',
      `A service account has at most ${CREDENTIALS_MAX} of these; remove one first.`,
    );
  }

  private async record(manager: EntityManager, call: Call, action: AuditAction, subject: string): Promise<void> {
    await this.audit.recordWithin(manager, call, {
      tenant: currentCaller().tenant,
      action,
      outcome: 'success',
      subject,
    });
  }

  private async found(id: string): Promise<machinesV1.ServiceAccount> {
    const { tenant } = currentCaller();
    const row = UUID.test(id) ? await serviceAccountStore.find(this.dataSource, currentCall(), tenant, id) : undefined;
    if (!row) throw unknownAccount();
    return toServiceAccount(row);
  }
}

async function removed(manager: EntityManager, from: string, values: unknown[]): Promise<number> {
  const [, count] = await manager.query<[unknown[], number]>(`delete from ${from}`, values);
  return count;
}

/** @throws Problem INVALID_ARGUMENT for a key that cannot verify, or is weak */
function readPublicKey({ alg, x, y, n, e }: machinesV1.AddPublicKeyRequest) {
  if (!Object.hasOwn(assertionAlgorithms, alg)) {
    throw invalid('alg', `must be one of ${Object.keys(assertionAlgorithms).join(', ')}`);
  }
  const { kty, crv } = assertionAlgorithms[alg as AssertionAlgorithm];
  const members = kty === 'RSA' ? { n, e } : kty === 'EC' ? { x, y } : { x };
  const lacking = Object.entries(members).find(([, value]) => value === '');
  if (lacking) throw invalid(lacking[0], `must be the member of the JSON Web Key (${kty}) in base64url`);
  const jwk = { kty, ...(crv && { crv }), ...members };
  let bits: number | undefined;
  try {
    bits = createPublicKey({ key: jwk, format: 'jwk' }).asymmetricKeyDetails?.modulusLength;
  } catch {
    throw invalid(kty === 'RSA' ? 'n' : 'x', `must be a public key of ${crv ?? kty} in base64url`);
  }
  if (kty === 'RSA' && (bits ?? 0) < RSA_BITS_MIN) throw invalid('n', `must have at least ${RSA_BITS_MIN} bits`);
  return { alg, jwk };
}

function unknownAccount(): Problem {
  return new Problem('NOT_FOUND', 'The tenant has no such service account.');
}

function toServiceAccount(row: ServiceAccountRow): machinesV1.ServiceAccount {
  const at = (ms: number | null) => (ms === null ? undefined : toTimestamp(new Date(ms)));
  return {
    id: row.id,
    tenant: row.tenant,
    name: row.name,
    roles: row.roles,
    scopes: row.scopes,
    audiences: row.audiences,
    locked: row.locked_at !== null,
    create_time: toTimestamp(row.created_at),
    last_used_time: row.last_used_at === null ? undefined : toTimestamp(row.last_used_at),
    secrets: row.secrets.map(({ id, last_four, created_ms, expires_ms }) => ({
      id,
      last_four,
      create_time: at(created_ms),
      expire_time: at(expires_ms),
    })),
    public_keys: row.public_keys.map(({ kid, alg, created_ms }) => ({ kid, alg, create_time: at(created_ms) })),
  };
}
