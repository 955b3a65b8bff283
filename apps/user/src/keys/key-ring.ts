import type { DataSource, EntityManager } from 'typeorm';
import { ConfigurationError } from '@sluice/config';
import { takeLock } from '@sluice/storage';
import { randomBytes } from 'node:crypto';
import { seal, unseal } from './seal.js';
import {
  exportPrivateKey,
  generateSigningKey,
  importPrivateKey,
  type PublicKey,
  type SigningKey,
} from './signing-key.js';

/** One lock for everything that changes keys, so that replicas that start together make one set. */
export const KEYS_LOCK = 'keys';

/** The name of the secret that makes refresh tokens. */
export const REFRESH_SECRET = 'refresh';

interface KeyRow {
  readonly kid: string;
  readonly state: 'next' | 'current' | 'previous';
  readonly public_x: string;
  readonly public_y: string;
  readonly private_sealed: Buffer;
}

/** The keys at one moment. */
export interface KeyRing {
  readonly current: SigningKey;
  /** Every key that a verifier must know: next, current, and each previous one whose tokens may be alive. */
  readonly published: readonly PublicKey[];
  /** Makes and checks refresh tokens. */
  readonly refreshSecret: Buffer;
}

/** Makes what is missing: the current and the next signing key, and the refresh secret. */
export async function createMissingKeys(dataSource: DataSource, masterKey: Buffer): Promise<void> {
  await dataSource.transaction(async (manager) => {
    await takeLock(manager, KEYS_LOCK);
    const rows = await manager.query<{ state: string }[]>(`select state from signing_keys where state <> 'previous'`);
    const states = new Set(rows.map(({ state }) => state));
    for (const state of ['current', 'next'] as const) {
      if (!states.has(state)) await insertKey(manager, masterKey, state);
    }
    await manager.query(`insert into sealed_secrets (name, sealed) values ($1, $2) on conflict do nothing`, [
      REFRESH_SECRET,
      seal(masterKey, `secret/${REFRESH_SECRET}`, randomBytes(32)),
    ]);
  });
}

export async function insertKey(manager: EntityManager, masterKey: Buffer, state: 'current' | 'next'): Promise<void> {
  const key = generateSigningKey();
  await manager.query(
    `insert into signing_keys (kid, state, public_x, public_y, private_sealed, activated_at)
     values ($1, $2, $3, $4, $5, case when $2 = 'current' then clock_timestamp() end)`,
    [key.kid, state, key.x, key.y, seal(masterKey, `signing-key/${key.kid}`, exportPrivateKey(key))],
  );
}

/** @throws ConfigurationError when the master key does not open what is in the database */
export async function readKeyRing(dataSource: DataSource, masterKey: Buffer): Promise<KeyRing> {
  const rows = await dataSource.query<KeyRow[]>(
    `select kid, state, public_x, public_y, private_sealed from signing_keys
     where verify_until is null or verify_until > clock_timestamp() order by created_at desc`,
  );
  const [secret] = await dataSource.query<{ sealed: Buffer }[]>(`select sealed from sealed_secrets where name = $1`, [
    REFRESH_SECRET,
  ]);
  const current = rows.find(({ state }) => state === 'current');
  if (!current || !secret) throw new Error('the database has no current signing key');
  return {
    current: openKey(masterKey, current),
    published: rows.map(({ kid, public_x, public_y }) => ({ kid, x: public_x, y: public_y })),
    refreshSecret: open(masterKey, `secret/${REFRESH_SECRET}`, secret.sealed),
  };
}

/**
 * What was sealed for the database. Whoever writes something sealed opens something first: what two master keys have sealed
 * no process could read.
 *
 * @throws ConfigurationError when this is not the master key
 */
export function open(masterKey: Buffer, purpose: string, sealed: Buffer): Buffer {
  try {
    return unseal(masterKey, purpose, sealed);
  } catch {
    throw new ConfigurationError([
      'MASTER_KEY=(secret): expected the key that the signing keys in the database are encrypted with',
    ]);
  }
}

function openKey(masterKey: Buffer, row: KeyRow): SigningKey {
  const der = open(masterKey, `signing-key/${row.kid}`, row.private_sealed);
  return { kid: row.kid, x: row.public_x, y: row.public_y, privateKey: importPrivateKey(der) };
}
