import type { EntityManager } from 'typeorm';

/**
 * Locks by name that live as long as a transaction. They are rows of the service's own schema: advisory locks are one space for all
 * roles of a database, so that any of them could keep a service waiting.
 */
export const LOCK_TABLE = 'locks';

type Querying = Pick<EntityManager, 'query'>;

/** Waits for the lock, as long as `lock_timeout` and the caller's deadline allow. The row is locked and not written. */
export async function takeLock(manager: Querying, name: string): Promise<void> {
  await manager.query(
    `insert into ${LOCK_TABLE} (name) values ($1) on conflict (name) do update set name = excluded.name where false`,
    [name],
  );
}

/** @returns false when somebody else has the lock */
export async function tryLock(manager: Querying, name: string): Promise<boolean> {
  await manager.query(`insert into ${LOCK_TABLE} (name) values ($1) on conflict (name) do nothing`, [name]);
  const rows = await manager.query<unknown[]>(
    `select from ${LOCK_TABLE} where name = $1 for no key update skip locked`,
    [name],
  );
  return rows.length > 0;
}
