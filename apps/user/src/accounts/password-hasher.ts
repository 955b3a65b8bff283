import { hash, parseOptions, verify } from '@node-rs/argon2';
import { type Asker, FairTurns } from '../protection/fair-turns.js';

/** `Algorithm.Argon2id`: a const enum, which isolated modules cannot read. */
const ARGON2ID = 2;

/** What one hash costs. */
export interface HashCost {
  readonly memoryKib: number;
  readonly passes: number;
}

export interface PasswordHasherOptions extends HashCost {
  /** Hashes at the same time; memory is bounded by this times `memoryKib`. */
  readonly concurrency: number;
  /** A caller that would wait longer is refused. */
  readonly queueMsMax: number;
}

/** Passwords that wait at most, of all tenants together: a bound on memory, since each tenant is bounded by time. */
const WAITING_MAX = 2000;

/** argon2id off the event loop, with a bound on what runs and on what waits; tenants take turns. */
export class PasswordHasher {
  readonly turns: FairTurns;

  constructor(private readonly options: PasswordHasherOptions) {
    const { concurrency, queueMsMax } = options;
    this.turns = new FairTurns({ concurrency, waitMsMax: queueMsMax, waitingMax: WAITING_MAX });
  }

  /**
   * Runs `work`, which hashes or verifies, when it is its turn.
   *
   * @param share the tenant for which it is, which must exist; see {@link KnownTenants.shareOf}
   * @throws Problem OVERLOADED with `retry_after_ms` when the wait would be too long, DeadlineError when the caller left meanwhile
   */
  inTurn<T>(call: Asker, share: string, work: () => Promise<T>): Promise<T> {
    return this.turns.take(call, share, work);
  }

  /** What a new hash costs. */
  get cost(): HashCost {
    return this.options;
  }

  hash(password: string, { memoryKib, passes }: HashCost = this.options): Promise<string> {
    return hash(password, { algorithm: ARGON2ID, memoryCost: memoryKib, timeCost: passes, parallelism: 1 });
  }

  verify(passwordHash: string, password: string): Promise<boolean> {
    return verify(passwordHash, password);
  }

  /** Whether a hash was made with other parameters than those of today. */
  isOutdated(passwordHash: string): boolean {
    const { memoryCost, timeCost } = parseOptions(passwordHash);
    return memoryCost !== this.options.memoryKib || timeCost !== this.options.passes;
  }
}
