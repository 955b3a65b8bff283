import type { DataSource } from 'typeorm';

const BATCH_ROWS = 500;
/** Batches of one table in one round; what is left waits for the next round. */
const BATCHES_MAX = 40;

interface PrunedTable {
  readonly table: string;
  readonly key: string;
  /** `$1`: audit days. */
  readonly over: string;
}

/** Sessions are kept this much longer than their access tokens live. */
const TOKEN_SLACK = `interval '5 minutes'`;

/** What has run out. Ended sessions stay until no token of theirs can be shown, so that revocations can be caught up. */
const tables: readonly PrunedTable[] = [
  {
    table: 'sessions',
    key: 'id',
    over: `absolute_until < clock_timestamp() - ${TOKEN_SLACK} or (
      revoked_at < clock_timestamp() - ${TOKEN_SLACK} and tokens_until < clock_timestamp() - ${TOKEN_SLACK})`,
  },
  {
    table: 'users',
    key: 'id',
    over: `guest and created_at < clock_timestamp() - interval '1 hour'
      and not exists (select from sessions s where s.user_id = users.id)`,
  },
  { table: 'throttles', key: 'key', over: `changed_at < clock_timestamp() - interval '2 hours'` },
  { table: 'known_networks', key: 'key', over: `seen_at < clock_timestamp() - interval '90 days'` },
  { table: 'guest_devices', key: 'ctid', over: `changed_at < clock_timestamp() - interval '2 days'` },
  { table: 'guest_attempts', key: 'id', over: `at < clock_timestamp() - $1 * interval '1 day'` },
  { table: 'audit_events', key: 'id', over: `at < clock_timestamp() - $1 * interval '1 day'` },
  { table: 'registrations', key: 'id', over: 'expires_at < clock_timestamp()' },
  { table: 'email_changes', key: 'user_id', over: 'expires_at < clock_timestamp()' },
  { table: 'invitations', key: 'id', over: 'expires_at < clock_timestamp()' },
  { table: 'account_links', key: 'token_hash', over: 'expires_at < clock_timestamp()' },
  { table: 'mail_pace', key: 'key', over: 'due_at < clock_timestamp()' },
  { table: 'client_assertions', key: 'digest', over: `expires_at < clock_timestamp()` },
  { table: 'client_secrets', key: 'id', over: `expires_at < clock_timestamp()` },
  { table: 'api_key_texts', key: 'digest', over: `expires_at < clock_timestamp() - interval '1 day'` },
  {
    table: 'api_keys',
    key: 'id',
    over: `least(revoked_at, expires_at) < clock_timestamp() - $1 * interval '1 day'`,
  },
  { table: 'ended_credentials', key: 'id', over: `until < clock_timestamp()` },
  { table: 'signing_keys', key: 'kid', over: `verify_until < clock_timestamp()` },
];

/**
 * Deletes what has run out, in batches that take only rows nobody else holds: replicas share the work and no call waits for it.
 *
 * @returns the deleted rows by table
 */
export async function prune(dataSource: DataSource, auditDays: number): Promise<ReadonlyMap<string, number>> {
  const deleted = new Map<string, number>();
  for (const { table, key, over } of tables) {
    for (let batch = 0; batch < BATCHES_MAX; batch++) {
      const [, count] = await dataSource.query<[unknown[], number]>(
        // Not every table needs the parameter; the first line gives its type.
        `with parameters as (select $1::float8)
         delete from ${table} where ${key} in (
           select ${key} from ${table} where ${over} for update skip locked limit ${BATCH_ROWS})`,
        [auditDays],
      );
      deleted.set(table, (deleted.get(table) ?? 0) + count);
      if (count < BATCH_ROWS) break;
    }
  }
  return deleted;
}
