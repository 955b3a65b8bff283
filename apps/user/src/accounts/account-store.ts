import { type Caller, execute, statement } from '@sluice/storage';
import type { DataSource } from 'typeorm';
import type { Email } from './email.js';

/** A row of `users`. */
export interface UserRow {
  readonly id: string;
  readonly tenant: string;
  readonly email: string | null;
  readonly password_hash: string | null;
  /** Another one when the password is another one; a new hash of the same password leaves it. */
  readonly password_version: number;
  readonly display_name: string;
  readonly roles: string[];
  readonly guest: boolean;
  readonly locked_at: Date | null;
  readonly created_at: Date;
  readonly email_verified: boolean;
  /** The next login must choose another password. */
  readonly password_expired: boolean;
  /** When the account is deleted; null: it stays. */
  readonly delete_at: Date | null;
}

/** The columns of a {@link UserRow}. */
export const userColumns =
  'id, tenant, email, password_hash, password_version, display_name, roles, guest, locked_at, created_at, ' +
  'email_verified_at is not null as email_verified, password_expired, delete_at';

const insertUser = statement<UserRow>(
  'user-insert',
  `insert into users (id, tenant, email, email_key, password_hash, display_name)
   select $1, t.id, $3, $4, $5, $6 from tenants t where t.id = $2 and t.open_registration
   on conflict (tenant, email_key) do nothing returning ${userColumns}`,
);
const findOpenTenant = statement<{ id: string }>(
  'tenant-find-open',
  `select id from tenants where id = $1 and open_registration`,
);
const findByEmail = statement<UserRow>(
  'user-find-by-email',
  `select ${userColumns} from users where tenant = $1 and email_key = $2`,
);
const findById = statement<UserRow>('user-find', `select ${userColumns} from users where tenant = $1 and id = $2`);
const updateHash = statement(
  'user-update-hash',
  `update users set password_hash = $3 where id = $1 and password_hash = $2`,
);

/** The statements of table `users`, one call each. */
export const accountStore = {
  /** @returns undefined when the address is taken or the tenant takes no registrations */
  async insert(
    dataSource: DataSource,
    call: Caller,
    user: { id: string; tenant: string; email: Email; passwordHash: string; displayName: string },
  ): Promise<UserRow | undefined> {
    const { email } = user;
    const values = [user.id, user.tenant, email.text, email.key, user.passwordHash, user.displayName];
    const [row] = await execute(dataSource, call, insertUser, values);
    return row;
  },

  async takesRegistrations(dataSource: DataSource, call: Caller, tenant: string): Promise<boolean> {
    return (await execute(dataSource, call, findOpenTenant, [tenant])).length > 0;
  },

  async findByEmail(dataSource: DataSource, call: Caller, tenant: string, email: Email) {
    const [row] = await execute(dataSource, call, findByEmail, [tenant, email.key]);
    return row;
  },

  async find(dataSource: DataSource, call: Caller, tenant: string, id: string) {
    const [row] = await execute(dataSource, call, findById, [tenant, id]);
    return row;
  },

  /** Replaces a hash unless the password was changed meanwhile. */
  async replaceHash(dataSource: DataSource, call: Caller, id: string, from: string, to: string): Promise<void> {
    await execute(dataSource, call, updateHash, [id, from, to]);
  },
};
