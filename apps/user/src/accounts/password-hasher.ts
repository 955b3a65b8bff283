import { hash, parseOptions, verify } from '@node-rs/argon2';
import { DeadlineError } from '@sluice/storage';
import { Problem } from '@sluice/problem';

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

/**
 * argon2id off the event loop, with a bound on what runs and on what waits.
 *
 * The wait is predicted from how long the latest hashes took, so the bound means the same on every machine.
 */
export class PasswordHasher {
  private readonly waiting: (() => void)[] = [];
  private running = 0;
  /** Milliseconds that one piece of work takes, smoothed. */
  private workMs = 50;

  constructor(private readonly options: PasswordHasherOptions) {}

  /** Work that is waiting for its turn. */
  get queued(): number {
    return this.waiting.length;
  }

  /**
   * Runs `work`, which hashes or verifies, when it is its turn.
   *
   * @throws Problem OVERLOADED with `retry_after_ms` when the wait would be too long, DeadlineError when the caller left meanwhile
   */
  async inTurn<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    await this.turn();
    const started = performance.now();
    try {
      if (signal?.aborted) throw new DeadlineError('the caller has left');
      return await work();
    } finally {
      this.workMs += 0.1 * (performance.now() - started - this.workMs);
      this.running--;
      this.waiting.shift()?.();
    }
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

  private async turn(): Promise<void> {
    if (this.running < this.options.concurrency) {
      this.running++;
      return;
    }
    const waitMs = Math.ceil((this.waiting.length * this.workMs) / this.options.concurrency);
    if (waitMs > this.options.queueMsMax) {
      throw new Problem('OVERLOADED', 'Too many passwords are being checked at the moment.', {
        details: { retry_after_ms: waitMs },
      });
    }
    await new Promise<void>((resolve) => {
      this.waiting.push(() => {
        this.running++;
        resolve();
      });
    });
  }
}
