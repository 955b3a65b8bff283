import type { DataSource } from 'typeorm';

const BATCH_ROWS = 500;
/** Batches of one table in one round; what is left waits for the next round. */
const BATCHES_MAX = 40;

export interface PruneTimes {
  /** For how long a row may matter to a token that was issued from it. */
  readonly tokenSeconds: number;
  readonly auditDays: number;
}

interface PrunedTable {
  readonly table: string;
  readonly key: string;
  /** `$1`: token seconds, `$2`: audit days. */
  readonly over: string;
}

/** What has run out. Ended sessions stay until no token of theirs can be shown, so that revocations can be caught up. */
const tables: readonly PrunedTable[] = [
  {
    table: 'sessions',
    key: 'id',
    over: `absolute_until < clock_timestamp() - $1 * interval '1 second'
      or revoked_at < clock_timestamp() - $1 * interval '1 second'`,
  },
  {
    table: 'users',
    key: 'id',
    over: `guest and created_at < clock_timestamp() - interval '1 hour'
      and not exists (select from sessions s where s.user_id = users.id)`,
  },
  { table: 'throttles', key: 'key', over: `changed_at < clock_timestamp() - interval '2 hours'` },
  { table: 'guest_devices', key: 'ctid', over: `changed_at < clock_timestamp() - interval '2 days'` },
  { table: 'guest_attempts', key: 'id', over: `at < clock_timestamp() - $2 * interval '1 day'` },
  { table: 'audit_events', key: 'id', over: `at < clock_timestamp() - $2 * interval '1 day'` },
  { table: 'signing_keys', key: 'kid', over: `verify_until < clock_timestamp()` },
];

/**
 * Deletes what has run out, in batches that take only rows nobody else holds: replicas share the work and no call waits for it.
 *
 * @returns the deleted rows by table
 */
export async function prune(dataSource: DataSource, times: PruneTimes): Promise<ReadonlyMap<string, number>> {
  const deleted = new Map<string, number>();
  for (const { table, key, over } of tables) {
    for (let batch = 0; batch < BATCHES_MAX; batch++) {
      const [, count] = await dataSource.query<[unknown[], number]>(
        // A table may need only one of the two parameters; the first line gives both their types.
        `with parameters as (select $1::float8, $2::float8)
         delete from ${table} where ${key} in (
           select ${key} from ${table} where ${over} for update skip locked limit ${BATCH_ROWS})`,
        [times.tokenSeconds, times.auditDays],
      );
      deleted.set(table, (deleted.get(table) ?? 0) + count);
      if (count < BATCH_ROWS) break;
    }
  }
  return deleted;
}
