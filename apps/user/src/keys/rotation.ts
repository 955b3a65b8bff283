import type { DataSource } from 'typeorm';
import { insertKey, KEYS_LOCK } from './key-ring.js';

/** What a rotation did, or how long it has to wait. */
export type Rotation =
  | { readonly kind: 'rotated'; readonly previous: string; readonly current: string }
  | { readonly kind: 'too-early'; readonly waitSeconds: number }
  | { readonly kind: 'not-due' };

export interface RotationOptions {
  readonly masterKey: Buffer;
  /** The next key must have been published for this long, so that every verifier knows it. */
  readonly publishSeconds: number;
  /** For how long the previous key is published: until its last token has expired. */
  readonly verifySeconds: number;
  /** Only when the current key has been in use for this long. */
  readonly dueAfterSeconds: number;
}

/** A replica may go on signing with the previous key for as long as it takes to notice, and clocks differ. */
export const VERIFY_SLACK_SECONDS = 600;

/** next → current → previous, and a new next; in one transaction, once, however many replicas try. */
export async function rotateKeys(dataSource: DataSource, options: RotationOptions): Promise<Rotation> {
  return dataSource.transaction(async (manager) => {
    await manager.query('select pg_advisory_xact_lock($1)', [KEYS_LOCK]);
    const rows = await manager.query<{ kid: string; state: 'next' | 'current'; seconds: number }[]>(
      `select kid, state, extract(epoch from clock_timestamp() - coalesce(activated_at, created_at))::float8 as seconds
       from signing_keys where state <> 'previous'`,
    );
    const current = rows.find(({ state }) => state === 'current');
    const next = rows.find(({ state }) => state === 'next');
    if (!current || !next) throw new Error('there are no keys to rotate: start the user service once');
    if (current.seconds < options.dueAfterSeconds) return { kind: 'not-due' };
    const waitSeconds = Math.ceil(options.publishSeconds - next.seconds);
    if (waitSeconds > 0) return { kind: 'too-early', waitSeconds };
    await manager.query(
      `update signing_keys set state = 'previous', verify_until = clock_timestamp() + $2 * interval '1 second' where kid = $1`,
      [current.kid, options.verifySeconds],
    );
    await manager.query(`update signing_keys set state = 'current', activated_at = clock_timestamp() where kid = $1`, [
      next.kid,
    ]);
    await insertKey(manager, options.masterKey, 'next');
    return { kind: 'rotated', previous: current.kid, current: next.kid };
  });
}
