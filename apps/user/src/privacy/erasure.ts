import type { DataSource, EntityManager } from 'typeorm';
import { Throttles } from '../protection/throttles.js';

/** Accounts of one round; what is left waits for the next. */
const BATCH = 100;
/** A revocation is told for as long as an access token of the session may live, and by the session's row. */
const TOKENS_OVER = `not exists (
  select from sessions s where s.user_id = u.id and s.tokens_until > clock_timestamp() - interval '5 minutes')`;

interface Erased {
  readonly id: string;
  readonly tenant: string;
  readonly email_key: string;
}

/**
 * Deletes the accounts whose grace is over, and the tenants whose accounts are gone. What stays is the audit log, of which the network
 * addresses go: an id that means nobody is no personal data. Each account is one transaction; replicas share the work.
 *
 * @returns the deleted rows by table
 */
export async function erase(dataSource: DataSource): Promise<ReadonlyMap<string, number>> {
  let users = 0;
  while (users < BATCH && (await dataSource.transaction(eraseOne))) users++;
  const [, tenants] = await dataSource.query<[unknown[], number]>(
    `delete from tenants t where delete_at < clock_timestamp() and not exists (select from users u where u.tenant = t.id)
       and not exists (select from sessions s where s.tenant = t.id)
       and not exists (select from guest_devices g where g.tenant = t.id)`,
  );
  return new Map([
    ['users', users],
    ['tenants', tenants],
  ]);
}

async function eraseOne(manager: EntityManager): Promise<boolean> {
  const [rows] = await manager.query<[Erased[], number]>(
    `delete from users where id in (
       select id from users u where delete_at <= clock_timestamp() and ${TOKENS_OVER} limit 1 for update skip locked)
     returning id, tenant, coalesce(email_key, '') as email_key`,
  );
  const [user] = rows;
  if (!user) return false;
  const { id, tenant, email_key: key } = user;
  await manager.query('delete from account_links where owner = $1', [id]);
  await manager.query('delete from mail_outbox where owner = $2 or (tenant = $1 and email_key = $3)', [
    tenant,
    id,
    key,
  ]);
  await manager.query('delete from registrations where tenant = $1 and email_key = $2', [tenant, key]);
  if (key !== '') {
    const account = Throttles.accountOf(key);
    for (const table of ['throttles', 'known_networks']) {
      await manager.query(`delete from ${table} where starts_with(key, $1) or starts_with(key, $2) or key = $3`, [
        `pair/${tenant}/${account}/`,
        `known/${tenant}/${account}/`,
        `account/${tenant}/${account}`,
      ]);
    }
  }
  await manager.query(
    `update audit_events set address = '' where address <> '' and
       ((tenant = $1 and subject = $2) or actor = $2)
       and not exists (select from users u where u.id::text in (audit_events.subject, audit_events.actor))`,
    [tenant, id],
  );
  await manager.query(
    `insert into audit_events (tenant, action, outcome, subject) values ($1, 'account.erase', 'success', $2)`,
    [tenant, id],
  );
  return true;
}
