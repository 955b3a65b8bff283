import { Controller } from '@nestjs/common';
import { userV1 } from '@sluice/contract';
import { Problem } from '@sluice/problem';
import { currentCall, currentCaller } from '@sluice/service';
import { DataSource, type EntityManager } from 'typeorm';
import { accountStore, type UserRow } from '../accounts/account-store.js';
import { invalid, readText } from '../accounts/credentials.js';
import { readEmailPrefix } from '../accounts/email.js';
import { type AuditAction, AuditLog } from '../audit/audit-log.js';
import type { RevocationCause } from '../sessions/session-store.js';
import { UUID } from '../sessions/sessions.js';
import { toTimestamp, toUser } from '../user.controller.js';
import { adminStore } from './admin-store.js';
import { readRoles, tenantMeant, unknownUser, UserChanges } from './user-changes.js';

const PAGE_SIZE = 50;
const PAGE_SIZE_MAX = 200;
const FIRST_UUID = '00000000-0000-0000-0000-000000000000';
const LAST_EVENT = '9223372036854775807';
const TENANT = /^[a-z0-9][a-z0-9-]{0,62}$/;
/** What administrators may do, within their own tenant alone. The roles stand in the contract and are checked before. */
@Controller()
@userV1.AdminServiceControllerMethods()
export class AdminController implements userV1.AdminServiceController {
  constructor(
    private readonly dataSource: DataSource,
    private readonly audit: AuditLog,
    private readonly changes: UserChanges,
  ) {}

  async listUsers(request: userV1.ListUsersRequest): Promise<userV1.ListUsersResponse> {
    const size = pageSize(request.page_size);
    const after = request.page_token === '' ? FIRST_UUID : request.page_token;
    if (!UUID.test(after)) throw invalid('page_token', 'must come from an earlier answer');
    const prefix = readEmailPrefix(request.email_prefix);
    const { tenant } = currentCaller();
    const rows = await adminStore.listUsers(this.dataSource, currentCall(), tenant, after, prefix, size + 1);
    const users = rows.slice(0, size);
    return { users: users.map(toUser), next_page_token: rows.length > size ? (users.at(-1)?.id ?? '') : '' };
  }

  async getUser(request: userV1.GetUserRequest): Promise<userV1.User> {
    const { tenant } = currentCaller();
    const known = UUID.test(request.user_id);
    const row = known && (await accountStore.find(this.dataSource, currentCall(), tenant, request.user_id));
    if (!row) throw unknownUser();
    return toUser(row);
  }

  lockUser(request: userV1.LockUserRequest): Promise<userV1.User> {
    if (request.user_id === currentCaller().subject) throw invalid('user_id', 'must not be your own');
    const { tenant } = currentCaller();
    return this.change(tenant, request.user_id, 'account.lock', 'account-locked', (manager) =>
      adminStore.change(manager, tenant, request.user_id, 'locked_at = coalesce(locked_at, clock_timestamp())'),
    );
  }

  unlockUser(request: userV1.UnlockUserRequest): Promise<userV1.User> {
    const { tenant } = currentCaller();
    return this.change(tenant, request.user_id, 'account.unlock', undefined, (manager) =>
      adminStore.change(manager, tenant, request.user_id, 'locked_at = null'),
    );
  }

  setRoles(request: userV1.SetRolesRequest): Promise<userV1.User> {
    const roles = readRoles(request.roles);
    const tenant = tenantMeant(request.tenant, 'sets roles');
    return this.change(tenant, request.user_id, 'account.roles', 'roles-changed', (manager) =>
      adminStore.change(manager, tenant, request.user_id, 'roles = $3', [roles]),
    );
  }

  async listAuditEvents(request: userV1.ListAuditEventsRequest): Promise<userV1.ListAuditEventsResponse> {
    const size = pageSize(request.page_size);
    const before = request.page_token === '' ? LAST_EVENT : request.page_token;
    if (!/^\d{1,19}$/.test(before)) throw invalid('page_token', 'must come from an earlier answer');
    const { tenant } = currentCaller();
    const call = currentCall();
    const rows = await adminStore.listAudit(this.dataSource, call, tenant, before, size + 1, request.user_id);
    const events = rows.slice(0, size);
    return {
      events: events.map(({ at, ...event }) => ({ ...event, time: toTimestamp(at) })),
      next_page_token: rows.length > size ? (events.at(-1)?.id ?? '') : '',
    };
  }

  async listTenants(): Promise<userV1.ListTenantsResponse> {
    return { tenants: await adminStore.listTenants(this.dataSource, currentCall()) };
  }

  async createTenant(request: userV1.CreateTenantRequest): Promise<userV1.Tenant> {
    if (!TENANT.test(request.id)) throw invalid('id', 'must have 1 to 63 of a–z, 0–9 and -, and not begin with -');
    const tenant = { ...request, name: readText(request.name, 'name', 200) || request.id };
    const row = await adminStore.insertTenant(this.dataSource, currentCall(), tenant);
    if (!row) throw new Problem('ALREADY_EXISTS', 'There is a tenant with this id.');
    await this.audit.record(currentCall(), { tenant: row.id, action: 'tenant.create', outcome: 'success' });
    return row;
  }

  private async change(
    tenant: string,
    userId: string,
    action: AuditAction,
    because: RevocationCause | undefined,
    update: (manager: EntityManager) => Promise<UserRow | undefined>,
  ): Promise<userV1.User> {
    return toUser(await this.changes.change(currentCall(), { tenant, userId, action, because, update }));
  }
}

export function pageSize(asked: number): number {
  if (asked < 0 || asked > PAGE_SIZE_MAX) throw invalid('page_size', `must be 1 to ${PAGE_SIZE_MAX}, or 0`);
  return asked === 0 ? PAGE_SIZE : asked;
}
