import type { EntityManager } from 'typeorm';
import { userColumns, type UserRow } from '../accounts/account-store.js';
import type { Email } from '../accounts/email.js';
import { sessionStore } from '../sessions/session-store.js';

/** Somebody who has shown that an address is his. */
export interface ProvenOwner {
  readonly id: string;
  readonly tenant: string;
  readonly email: Email;
  readonly passwordHash: string;
  readonly displayName: string;
  readonly roles: readonly string[];
}

/** An account may lose its address to its owner: it has not proved it, and nobody has given it a role. */
export const CAN_BE_DISPLACED = `email_verified_at is null and roles = '{}'`;

/**
 * Makes the account of somebody who has proved an address. An account there that has not is closed and deleted: whoever registered somebody
 * else's address keeps nothing of it, and its new owner gets nothing of his.
 *
 * @returns undefined when the address belongs to an account for good; `displaced` is the one that gave way
 */
export async function insertProven(
  manager: EntityManager,
  owner: ProvenOwner,
): Promise<{ row: UserRow; displaced: string | undefined } | undefined> {
  const { id, tenant, email, passwordHash, displayName, roles } = owner;
  const [holder] = await manager.query<{ id: string; weak: boolean }[]>(
    `select id, ${CAN_BE_DISPLACED} as weak from users where tenant = $1 and email_key = $2 for update`,
    [tenant, email.key],
  );
  if (holder && !holder.weak) return undefined;
  if (holder) {
    await sessionStore.revokeAllWithin(manager, holder.id, tenant, 'account-deleted');
    await manager.query(
      `update users set email = null, email_key = 'displaced/' || id, locked_at = clock_timestamp(), delete_at = clock_timestamp()
       where id = $1`,
      [holder.id],
    );
  }
  const [row] = await manager.query<UserRow[]>(
    `insert into users (id, tenant, email, email_key, password_hash, display_name, roles, email_verified_at)
     select $1, t.id, $3, $4, $5, $6, $7, clock_timestamp() from tenants t where t.id = $2 and t.delete_at is null
     on conflict (tenant, email_key) do nothing returning ${userColumns}`,
    [id, tenant, email.text, email.key, passwordHash, displayName, roles],
  );
  return row && { row, displaced: holder?.id };
}
