import { randomBytes } from 'node:crypto';
import type { DataSource, EntityManager } from 'typeorm';
import { takeLock } from '@sluice/storage';
import { insertKey, KEYS_LOCK, open, REFRESH_SECRET } from './key-ring.js';
import { seal } from './seal.js';

/** What a rotation did, or how long it has to wait. */
export type Rotation =
  | { readonly kind: 'rotated'; readonly previous: string; readonly current: string }
  | { readonly kind: 'too-early'; readonly waitSeconds: number }
  | { readonly kind: 'not-due' };

export interface RotationOptions {
  readonly masterKey: Buffer;
  /** The next key must have been published for this long, so that every verifier knows it. */
  readonly publishSeconds: number;
  /** For how long a token that is signed now may live, by the settings; the previous key is published until the last has expired. */
  readonly tokenSeconds: number;
  /** Whose administrators read of it. */
  readonly auditTenant: string;
  /** Only when the current key has been in use for this long. */
  readonly dueAfterSeconds: number;
}

/** A replica may go on signing with the previous key for as long as it takes to notice, and clocks differ. */
const VERIFY_SLACK_SECONDS = 600;

async function recordChange(manager: EntityManager, tenant: string, outcome: string): Promise<void> {
  await manager.query(`insert into audit_events (tenant, action, outcome) values ($1, 'keys.rotate', $2)`, [
    tenant,
    outcome,
  ]);
}

/**
 * next → current → previous, and a new next; in one transaction, once, however many replicas try.
 *
 * @throws ConfigurationError when the master key is not that of the keys
 */
export async function rotateKeys(dataSource: DataSource, options: RotationOptions): Promise<Rotation> {
  return dataSource.transaction(async (manager) => {
    await takeLock(manager, KEYS_LOCK);
    const rows = await manager.query<
      { kid: string; state: 'next' | 'current'; private_sealed: Buffer; seconds: number }[]
    >(
      `select kid, state, private_sealed, extract(epoch from clock_timestamp() - coalesce(activated_at, created_at))::float8 as seconds
       from signing_keys where state <> 'previous'`,
    );
    const current = rows.find(({ state }) => state === 'current');
    const next = rows.find(({ state }) => state === 'next');
    if (!current || !next) throw new Error('there are no keys to rotate: start the user service once');
    open(options.masterKey, `signing-key/${next.kid}`, next.private_sealed);
    if (current.seconds < options.dueAfterSeconds) return { kind: 'not-due' };
    const waitSeconds = Math.ceil(options.publishSeconds - next.seconds);
    if (waitSeconds > 0) return { kind: 'too-early', waitSeconds };
    await manager.query(
      `update signing_keys set state = 'previous', verify_until = $3 * interval '1 second' + greatest(
         (select max(tokens_until) from sessions), clock_timestamp() + $2 * interval '1 second')
       where kid = $1`,
      [current.kid, options.tokenSeconds, VERIFY_SLACK_SECONDS],
    );
    await manager.query(`update signing_keys set state = 'current', activated_at = clock_timestamp() where kid = $1`, [
      next.kid,
    ]);
    await insertKey(manager, options.masterKey, 'next');
    await recordChange(manager, options.auditTenant, 'rotated');
    return { kind: 'rotated', previous: current.kid, current: next.kid };
  });
}

/**
 * Publishes a previous key no more: its tokens are refused as soon as verifiers have fetched the keys again.
 *
 * @returns false when there is no previous key with this id
 */
export async function withdrawKey(dataSource: DataSource, auditTenant: string, kid: string): Promise<boolean> {
  return dataSource.transaction(async (manager) => {
    const [, count] = await manager.query<[unknown[], number]>(
      `delete from signing_keys where kid = $1 and state = 'previous'`,
      [kid],
    );
    if (count > 0) await recordChange(manager, auditTenant, 'withdrawn');
    return count > 0;
  });
}

/**
 * A new refresh secret: no refresh token works any more, and every session is revoked, so that no access token does either.
 * Replicas go on with the old secret until they notice, see {@link endSessions}.
 *
 * @throws ConfigurationError when the master key is not that of the secret
 */
export async function endAllSessions(dataSource: DataSource, masterKey: Buffer, auditTenant: string): Promise<number> {
  return dataSource.transaction(async (manager) => {
    const [secret] = await manager.query<{ sealed: Buffer }[]>(`select sealed from sealed_secrets where name = $1`, [
      REFRESH_SECRET,
    ]);
    if (!secret) throw new Error('there is no refresh secret to replace: start the user service once');
    open(masterKey, `secret/${REFRESH_SECRET}`, secret.sealed);
    await manager.query(`update sealed_secrets set sealed = $2, created_at = clock_timestamp() where name = $1`, [
      REFRESH_SECRET,
      seal(masterKey, `secret/${REFRESH_SECRET}`, randomBytes(32)),
    ]);
    await recordChange(manager, auditTenant, 'all-sessions-ended');
    return endSessions(manager);
  });
}

/**
 * Revokes every session. Called once more when the replicas have the new secret: the refresh tokens of those who logged in
 * meanwhile were made with the old one.
 */
export async function endSessions(manager: EntityManager): Promise<number> {
  const [, count] = await manager.query<[unknown[], number]>(
    `update sessions s set revoked_at = clock_timestamp(), revoked_because = 'compromise'
     from (
       select id from sessions where revoked_at is null and greatest(idle_until, tokens_until) > clock_timestamp()
       order by id for update
     ) living
     where s.id = living.id`,
  );
  return count;
}

/**
 * Encrypts everything with another master key; services that run keep what they have in memory and must be restarted with it.
 *
 * @throws ConfigurationError when the first key is not the one in use
 */
export async function changeMasterKey(dataSource: DataSource, from: Buffer, to: Buffer): Promise<void> {
  await dataSource.transaction(async (manager) => {
    await takeLock(manager, KEYS_LOCK);
    const keys = await manager.query<{ kid: string; private_sealed: Buffer }[]>(
      'select kid, private_sealed from signing_keys',
    );
    for (const { kid, private_sealed } of keys) {
      const purpose = `signing-key/${kid}`;
      const sealed = seal(to, purpose, open(from, purpose, private_sealed));
      await manager.query('update signing_keys set private_sealed = $2 where kid = $1', [kid, sealed]);
    }
    const secrets = await manager.query<{ name: string; sealed: Buffer }[]>('select name, sealed from sealed_secrets');
    for (const { name, sealed } of secrets) {
      const purpose = `secret/${name}`;
      const values = [name, seal(to, purpose, open(from, purpose, sealed))];
      await manager.query('update sealed_secrets set sealed = $2 where name = $1', values);
    }
  });
}
