import { createHash } from 'node:crypto';
import { type Caller, execute, statement, takeLock } from '@sluice/storage';
import type { DataSource, EntityManager } from 'typeorm';
import type { GuestLimit, GuestUsage } from './guest-limits.js';

/** A row of `guest_devices` while its lock is held. */
export interface GuestDevice {
  readonly refusals: number;
  readonly blocked_ms: number | null;
  readonly sealed_token: Buffer | null;
  readonly token_ms: number | null;
  readonly session_id: string | null;
  readonly address: string;
}

/** Addresses share this many locks, so that their number is bounded; two that share one wait for each other, no more. */
const NETWORK_LOCKS = 1024;

/** Who asks, as it is kept: the device as a hash, the address as a network. */
export interface GuestKey {
  readonly tenant: string;
  readonly device: string;
  readonly network: string;
}

/** What a device is kept as. Without a name it is told from others by its address alone. */
export function deviceOf(deviceId: string, network: string): string {
  return createHash('sha256')
    .update(deviceId === '' ? `network ${network}` : `id ${deviceId}`)
    .digest('base64url');
}

const milliseconds = (time: string) => `case when ${time} > clock_timestamp()
  then ceil(extract(epoch from ${time} - clock_timestamp()) * 1000)::float8 end`;

/** Writes an attempt down unless the device has a token there that has more than $6 milliseconds left. */
const recordWithoutToken = statement<{ id: string }>(
  'guest-record-without-token',
  `insert into guest_attempts (tenant, device, address, cause, outcome)
   select $1, $2, $3, $4, $5 where not exists (
     select from guest_devices where tenant = $1 and device = $2 and address = $3
       and token_until > clock_timestamp() + $6 * interval '1 millisecond')
   returning id`,
);

/** The statements of tables `guest_devices` and `guest_attempts`; within the transaction that decides about one request where they take a manager. */
export const guestStore = {
  /** Takes the lock of the device, so that requests of one device are decided one after another. */
  async lock(manager: EntityManager, { tenant, device }: GuestKey): Promise<GuestDevice> {
    const [row] = await manager.query<[GuestDevice]>(
      `insert into guest_devices as d (tenant, device) values ($1, $2)
       on conflict (tenant, device) do update set changed_at = clock_timestamp()
       returning refusals, sealed_token, session_id, address,
         ${milliseconds('d.blocked_until')} as blocked_ms, ${milliseconds('d.token_until')} as token_ms`,
      [tenant, device],
    );
    return row;
  },

  /** Takes the lock of the address; always after that of the device, so that no two wait for each other. */
  async lockNetwork(manager: EntityManager, network: string): Promise<void> {
    const slot = createHash('sha256').update(network).digest().readUInt16BE() % NETWORK_LOCKS;
    await takeLock(manager, `guest-network/${slot}`);
  },

  /** What the device or the network has had of each of the limits. */
  async usage(
    source: Pick<EntityManager, 'query'>,
    key: GuestKey,
    by: 'device' | 'network',
    limits: readonly GuestLimit[],
  ): Promise<GuestUsage[]> {
    const [where, values] =
      by === 'device' ? ['tenant = $3 and device = $4', [key.tenant, key.device]] : ['address = $3', [key.network]];
    const rows = await source.query<{ used: number; age_ms: number | null }[]>(
      `select tokens.used, case when tokens.used >= l.count
         then (extract(epoch from clock_timestamp() - tokens.oldest) * 1000)::float8 end as age_ms
       from unnest($1::int[], $2::int[]) with ordinality l (seconds, count, place)
       cross join lateral (
         select count(*)::int as used, min(at) as oldest from (
           select at from guest_attempts
           where outcome = 'issued' and ${where} and at > clock_timestamp() - l.seconds * interval '1 second'
           order by at desc limit l.count) latest) tokens
       order by l.place`,
      [limits.map(({ seconds }) => seconds), limits.map(({ count }) => count), ...values],
    );
    return rows.map(({ used, age_ms: ageMs }, place) => ({
      limit: limits[place]!,
      used,
      ageMs: ageMs ?? undefined,
    }));
  },

  /** What is kept of the device, without its lock. */
  async find(source: Pick<EntityManager, 'query'>, { tenant, device }: GuestKey): Promise<GuestDevice | undefined> {
    const [row] = await source.query<GuestDevice[]>(
      `select refusals, sealed_token, session_id, address,
         ${milliseconds('blocked_until')} as blocked_ms, ${milliseconds('token_until')} as token_ms
       from guest_devices where tenant = $1 and device = $2`,
      [tenant, device],
    );
    return row;
  },

  /** @param at when it was, if that is not now */
  async record(
    manager: Pick<EntityManager, 'query'>,
    key: GuestKey,
    cause: string,
    outcome: string,
    at: Date | null = null,
  ): Promise<void> {
    await manager.query(
      `insert into guest_attempts (tenant, device, address, cause, outcome, at)
       values ($1, $2, $3, $4, $5, coalesce($6, clock_timestamp()))`,
      [key.tenant, key.device, key.network, cause, outcome, at],
    );
  },

  /** Records the refusal of a device without a live token of at least `leftMs` in one round trip; false: it may have one. */
  async recordWithoutToken(
    dataSource: DataSource,
    caller: Caller,
    key: GuestKey,
    cause: string,
    outcome: string,
    leftMs: number,
  ): Promise<boolean> {
    const values = [key.tenant, key.device, key.network, cause, outcome, leftMs];
    return (await execute(dataSource, caller, recordWithoutToken, values)).length > 0;
  },

  async refuse(manager: EntityManager, { tenant, device }: GuestKey, waitMs: number): Promise<void> {
    await manager.query(
      `update guest_devices set refusals = refusals + 1, blocked_until = clock_timestamp() + $3 * interval '1 millisecond'
       where tenant = $1 and device = $2`,
      [tenant, device, waitMs],
    );
  },

  async insertGuest(manager: EntityManager, tenant: string, id: string): Promise<void> {
    await manager.query(`insert into users (id, tenant, guest) values ($1, $2, true)`, [id, tenant]);
  },

  /** Remembers the token that is alive now, and forgets the refusals before it. */
  async keep(manager: EntityManager, key: GuestKey, token: { sealed: Buffer; seconds: number; sessionId: string }) {
    await manager.query(
      `update guest_devices set refusals = 0, blocked_until = '-infinity', sealed_token = $3,
         token_until = clock_timestamp() + $4 * interval '1 second', session_id = $5, address = $6
       where tenant = $1 and device = $2`,
      [key.tenant, key.device, token.sealed, token.seconds, token.sessionId, key.network],
    );
  },
};
