import { createHmac, randomBytes } from 'node:crypto';
import { Injectable, type OnModuleInit } from '@nestjs/common';
import { execute, statement } from '@sluice/storage';
import { DataSource } from 'typeorm';
import { type HashCost, PasswordHasher } from './password-hasher.js';

/** How many hashes of `users` cost this. */
interface CostShare extends HashCost {
  readonly hashes: number;
}

/** Rare costs are left out; each needs a hash of its own. */
const COSTS_MAX = 8;
/** The whole table is read for it. */
const READ_EVERY_MS = 3_600_000;

const readShares = statement<CostShare>(
  'password-costs',
  `select m[1]::int as "memoryKib", m[2]::int as passes, count(*)::float8 as hashes
   from users, regexp_match(password_hash, '^\\$argon2id\\$v=\\d+\\$m=(\\d+),t=(\\d+),') m
   where password_hash is not null group by 1, 2 order by 3 desc limit ${COSTS_MAX}`,
);

/**
 * The accounts that do not exist. A wrong password takes as long as the hash that it is compared with costs, and that differs after the
 * settings of the hash were changed, until each user has logged in. So an unknown address is compared with a hash of such a cost as the
 * known ones have, in the same shares, and always with the same: the time tells nothing.
 */
@Injectable()
export class Nobody implements OnModuleInit {
  private readonly key = randomBytes(32);
  private readonly hashes = new Map<string, Promise<string>>();
  private shares: Promise<readonly CostShare[]> | undefined;
  private readAtMs = -Infinity;

  constructor(
    private readonly dataSource: DataSource,
    private readonly hasher: PasswordHasher,
  ) {}

  /** So that the first unknown address takes no longer than the next. */
  async onModuleInit(): Promise<void> {
    for (const cost of [this.hasher.cost, ...(await this.readShares())]) await this.hashOf(cost);
  }

  /** What a password for this address is verified against; no password is right. */
  async hashFor(emailKey: string): Promise<string> {
    return this.hashOf(costFor(emailKey, this.key, await this.readShares()) ?? this.hasher.cost);
  }

  private hashOf({ memoryKib, passes }: HashCost): Promise<string> {
    const name = `${memoryKib} ${passes}`;
    let hash = this.hashes.get(name);
    if (!hash) {
      hash = this.hasher.hash(randomBytes(16).toString('hex'), { memoryKib, passes });
      this.hashes.set(name, hash);
    }
    return hash;
  }

  private readShares(): Promise<readonly CostShare[]> {
    const now = performance.now();
    if (!this.shares || now - this.readAtMs > READ_EVERY_MS) {
      this.readAtMs = now;
      const before = this.shares ?? Promise.resolve([]);
      this.shares = execute(this.dataSource, {}, readShares, []).catch(() => before);
    }
    return this.shares;
  }
}

/** The cost that belongs to the address: a place on the line from 0 to 1, of which each cost has a part as long as its share. */
export function costFor(emailKey: string, key: Buffer, shares: readonly CostShare[]): HashCost | undefined {
  const place = createHmac('sha256', key).update(emailKey).digest().readUIntBE(0, 6) / 2 ** 48;
  let left = place * shares.reduce((sum, { hashes }) => sum + hashes, 0);
  return shares.find(({ hashes }) => (left -= hashes) < 0);
}
