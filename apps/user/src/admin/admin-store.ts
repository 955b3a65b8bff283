import { type Caller, execute, statement } from '@sluice/storage';
import type { DataSource, EntityManager } from 'typeorm';
import { userColumns, type UserRow } from '../accounts/account-store.js';

const listUsers = statement<UserRow>(
  'admin-list-users',
  `select ${userColumns} from users where tenant = $1 and id > $2 and ($3 = '' or starts_with(email_key, $3))
   order by id limit $4`,
);

/** An audit event as it is read. */
export interface AuditRow {
  readonly id: string;
  readonly at: Date;
  readonly action: string;
  readonly outcome: string;
  readonly actor: string;
  readonly subject: string;
  readonly session_id: string;
  readonly address: string;
  readonly trace_id: string;
}

const listEvents = statement<AuditRow>(
  'admin-list-audit',
  `select id, at, action, outcome, actor, subject, session_id, address, trace_id from audit_events
   where tenant = $1 and id < $2 order by id desc limit $3`,
);
const listEventsOfUser = statement<AuditRow>(
  'admin-list-audit-of-user',
  `select id, at, action, outcome, actor, subject, session_id, address, trace_id from audit_events
   where tenant = $1 and subject = $4 and id < $2 order by id desc limit $3`,
);

export interface TenantRow {
  readonly id: string;
  readonly name: string;
  readonly open_registration: boolean;
}

const listTenants = statement<TenantRow>(
  'admin-list-tenants',
  `select id, name, open_registration from tenants order by id`,
);
const insertTenant = statement<TenantRow>(
  'admin-insert-tenant',
  `insert into tenants (id, name, open_registration) values ($1, $2, $3) on conflict do nothing
   returning id, name, open_registration`,
);

/** The statements of administrators; every one about users is bound to a tenant. */
export const adminStore = {
  listUsers(dataSource: DataSource, call: Caller, tenant: string, after: string, emailPrefix: string, limit: number) {
    return execute(dataSource, call, listUsers, [tenant, after, emailPrefix, limit]);
  },

  /** The roles of a user, who is held until the transaction ends; undefined when the tenant has no such user. */
  async holdRoles(manager: EntityManager, tenant: string, userId: string): Promise<readonly string[] | undefined> {
    const [row] = await manager.query<{ roles: string[] }[]>(
      `select roles from users where tenant = $1 and id = $2 for update`,
      [tenant, userId],
    );
    return row?.roles;
  },

  /** @returns undefined when the tenant has no such user */
  async change(
    manager: EntityManager,
    tenant: string,
    userId: string,
    change:
      | 'locked_at = coalesce(locked_at, clock_timestamp())'
      | 'locked_at = null'
      | 'roles = $3'
      | 'email_verified_at = coalesce(email_verified_at, clock_timestamp())',
    values: readonly unknown[] = [],
  ): Promise<UserRow | undefined> {
    const [rows] = await manager.query<[UserRow[], number]>(
      `update users set ${change} where tenant = $1 and id = $2 returning ${userColumns}`,
      [tenant, userId, ...values],
    );
    return rows[0];
  },

  /** @returns undefined when the tenant has no such user */
  async rename(manager: EntityManager, tenant: string, userId: string, name: string): Promise<UserRow | undefined> {
    const [rows] = await manager.query<[UserRow[], number]>(
      `update users set display_name = $3 where tenant = $1 and id = $2 returning ${userColumns}`,
      [tenant, userId, name],
    );
    return rows[0];
  },

  listAudit(dataSource: DataSource, call: Caller, tenant: string, before: string, limit: number, userId: string) {
    return userId === ''
      ? execute(dataSource, call, listEvents, [tenant, before, limit])
      : execute(dataSource, call, listEventsOfUser, [tenant, before, limit, userId]);
  },

  listTenants: (dataSource: DataSource, call: Caller) => execute(dataSource, call, listTenants, []),

  /** @returns undefined when there is one with this id */
  async insertTenant(dataSource: DataSource, call: Caller, tenant: TenantRow): Promise<TenantRow | undefined> {
    const values = [tenant.id, tenant.name, tenant.open_registration];
    const [row] = await execute(dataSource, call, insertTenant, values);
    return row;
  },
};
