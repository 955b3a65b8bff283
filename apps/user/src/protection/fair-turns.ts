import { DeadlineError } from '@sluice/storage';
import { Problem } from '@sluice/problem';

export interface FairTurnsOptions {
  /** Pieces of work at the same time. */
  readonly concurrency: number;
  /** Who would wait longer is refused, in milliseconds. */
  readonly waitMsMax: number;
  /** Pieces of work that wait at most, of all shares together. */
  readonly waitingMax: number;
}

/** Who asks for a turn: `signal` fires when they have left, `deadline` is in milliseconds since the epoch. */
export interface Asker {
  readonly signal?: AbortSignal | undefined;
  readonly deadline?: number | undefined;
}

/**
 * Why a turn was refused. `wait`: it would come too late, `deadline`: later than its asker has time, `full`: too many wait, `late`: it
 * had waited as long as it may before it came.
 */
export const turnRefusals = ['wait', 'deadline', 'full', 'late'] as const;
export type TurnRefusal = (typeof turnRefusals)[number];

interface Waiting {
  /** As the clock counts. */
  readonly since: number;
  /** @param chargedMs what the share was charged with for it */
  begin(chargedMs: number): void;
  refuse(why: TurnRefusal, retryAfterMs: number): void;
}

/** What waits for one tenant, the oldest first. */
interface Share {
  readonly name: string;
  readonly waiting: Waiting[];
  /** Milliseconds of work that the share has coming; negative: that it has had too many of. */
  deficitMs: number;
  /** Milliseconds that one of its pieces takes, smoothed. */
  costMs: number;
  /** When it had its last turn, as the clock counts, and how far its turns are apart, smoothed, in milliseconds; 0: not known. */
  turnedAt: number;
  paceMs: number;
  /** It is its turn: it was given what a turn is worth. */
  inTurn: boolean;
}

/** Before anything has been measured, in milliseconds. */
const FIRST_WORK_MS = 50;
const WORK_WEIGHT = 0.1;
const SHARE_WEIGHT = 0.3;
/** A share is held to so many pieces of work that it had too many of: what hung for long is not its fault alone. */
const DEBT_MAX = 20;
/** How often those are looked for that have waited too long although nothing ends, in milliseconds. */
const WATCH_MS = 250;

/**
 * A queue that is fair over shares, by the time that their work takes: deficit round robin (Shreedhar and Varghese, 1995). A turn is
 * worth one piece of the mean. What a piece costs is known when it has ended; until then its share is charged with what its pieces
 * usually take.
 *
 * The wait is predicted from how long the latest pieces took and from those that come before, so that a bound on it means the same on
 * every machine. Each share is bounded by it; all together by `waitingMax`, beyond which the longest gives a place up.
 */
export class FairTurns {
  readonly refused: Record<TurnRefusal, number> = { wait: 0, deadline: 0, full: 0, late: 0 };
  /** Pieces that waited and had their turn, and how long in all, in milliseconds. */
  readonly waited = { pieces: 0, ms: 0 };
  private readonly shares = new Map<string, Share>();
  /** Shares that wait, the one whose turn it is first. */
  private readonly ring = new Set<Share>();
  private waitingCount = 0;
  private running = 0;
  /** Milliseconds that one piece takes, smoothed. */
  private workMs = FIRST_WORK_MS;
  private watch: NodeJS.Timeout | undefined;

  constructor(
    private readonly options: FairTurnsOptions,
    /** Milliseconds that never go back. */
    private readonly clock = () => performance.now(),
  ) {}

  get queued(): number {
    return this.waitingCount;
  }

  /** Shares that wait. */
  get shareCount(): number {
    return this.ring.size;
  }

  /** What waits of the share that has most. */
  get longest(): number {
    return this.longestShare?.waiting.length ?? 0;
  }

  /**
   * Runs `work` when it is its turn.
   *
   * @throws Problem OVERLOADED with `retry_after_ms`, at once when the wait would be too long; DeadlineError when the asker left meanwhile
   */
  async take<T>(asker: Asker, share: string, work: () => Promise<T>): Promise<T> {
    const chargedMs = await this.turn(asker, share);
    const started = this.clock();
    try {
      if (asker.signal?.aborted) throw new DeadlineError('the caller has left');
      return await work();
    } finally {
      this.ended(share, this.clock() - started, chargedMs);
    }
  }

  /** @returns what the share was charged with; undefined: it did not wait, so that nobody took turns */
  private turn(asker: Asker, share: string): Promise<number> | undefined {
    if (this.running >= this.options.concurrency || this.waitingCount > 0) return this.wait(asker, share);
    this.running++;
    return undefined;
  }

  private ended(name: string, tookMs: number, chargedMs: number | undefined): void {
    const share = this.shares.get(name);
    if (share) {
      const debt = share.deficitMs + (chargedMs === undefined ? 0 : chargedMs - tookMs);
      share.deficitMs = Math.max(debt, -DEBT_MAX * this.workMs);
      share.costMs += SHARE_WEIGHT * (tookMs - share.costMs);
    }
    this.workMs += WORK_WEIGHT * (tookMs - this.workMs);
    this.running--;
    this.serve();
  }

  private wait({ signal, deadline }: Asker, name: string): Promise<number> {
    const share = this.shares.get(name) ?? {
      name,
      waiting: [],
      deficitMs: 0,
      costMs: this.workMs,
      turnedAt: 0,
      paceMs: 0,
      inTurn: false,
    };
    const waitMs = this.waitMsOf(share);
    if (waitMs > this.options.waitMsMax) throw this.refusal('wait', waitMs);
    if (deadline !== undefined && Date.now() + waitMs + this.workMs > deadline) throw this.refusal('deadline', waitMs);
    if (this.waitingCount >= this.options.waitingMax) this.makeRoom(share, waitMs);
    return new Promise<number>((resolve, reject) => {
      const onAbort = () => {
        this.remove(share, waiting);
        reject(new DeadlineError('the caller has left'));
      };
      const waiting: Waiting = {
        since: this.clock(),
        begin: (chargedMs) => {
          signal?.removeEventListener('abort', onAbort);
          resolve(chargedMs);
        },
        refuse: (why, retryAfterMs) => {
          signal?.removeEventListener('abort', onAbort);
          reject(this.refusal(why, retryAfterMs));
        },
      };
      if (signal?.aborted) return reject(new DeadlineError('the caller has left'));
      signal?.addEventListener('abort', onAbort, { once: true });
      this.add(share, waiting);
    });
  }

  /**
   * How long a further piece of the share would wait: for what waits before it, and as many of each other share; or as long as that many
   * turns of the share take lately, since others come and go.
   */
  private waitMsOf(share: Share): number {
    const own = share.waiting.length;
    let before = own;
    for (const other of this.ring) if (other !== share) before += Math.min(other.waiting.length, own + 1);
    return Math.ceil(Math.max((before * this.workMs) / this.options.concurrency, own * share.paceMs));
  }

  private refusal(why: TurnRefusal, retryAfterMs: number): Problem {
    this.refused[why]++;
    return new Problem('OVERLOADED', 'Too many passwords are being checked at the moment.', {
      details: { retry_after_ms: Math.max(1, Math.ceil(retryAfterMs)) },
    });
  }

  private get longestShare(): Share | undefined {
    let longest: Share | undefined;
    for (const share of this.ring) if (!longest || share.waiting.length > longest.waiting.length) longest = share;
    return longest;
  }

  /** @throws Problem OVERLOADED when no other share is longer */
  private makeRoom(share: Share, waitMs: number): void {
    const longest = this.longestShare;
    if (!longest || longest.waiting.length <= share.waiting.length + 1) throw this.refusal('full', waitMs);
    const last = longest.waiting.at(-1)!;
    this.remove(longest, last);
    last.refuse('full', this.waitMsOf(longest));
  }

  private add(share: Share, waiting: Waiting): void {
    share.waiting.push(waiting);
    this.waitingCount++;
    this.shares.set(share.name, share);
    this.ring.add(share);
    this.watch ??= setInterval(() => this.expire(), WATCH_MS).unref();
  }

  private remove(share: Share, waiting: Waiting): void {
    const at = share.waiting.indexOf(waiting);
    if (at === -1) return;
    share.waiting.splice(at, 1);
    this.waitingCount--;
    if (share.waiting.length === 0) {
      this.ring.delete(share);
      this.shares.delete(share.name);
    }
    if (this.waitingCount > 0) return;
    clearInterval(this.watch);
    this.watch = undefined;
  }

  private serve(): void {
    while (this.running < this.options.concurrency) {
      const [share] = this.ring;
      if (share === undefined) return;
      const [oldest] = share.waiting;
      if (this.isLate(oldest!)) {
        this.refuseLate(share, oldest!);
        continue;
      }
      if (!share.inTurn) {
        share.inTurn = true;
        share.deficitMs += this.workMs;
      }
      // Rounded, so that pieces that cost the same are served one by one.
      if (share.deficitMs < share.costMs / 2) this.passOn(share);
      else this.begin(share, oldest!);
    }
  }

  private passOn(share: Share): void {
    share.inTurn = false;
    this.ring.delete(share);
    this.ring.add(share);
  }

  private begin(share: Share, waiting: Waiting): void {
    const { costMs, turnedAt, paceMs } = share;
    const now = this.clock();
    share.deficitMs -= costMs;
    if (turnedAt > 0) share.paceMs = paceMs === 0 ? now - turnedAt : paceMs + WORK_WEIGHT * (now - turnedAt - paceMs);
    share.turnedAt = now;
    this.running++;
    this.waited.pieces++;
    this.waited.ms += now - waiting.since;
    this.remove(share, waiting);
    waiting.begin(costMs);
  }

  private isLate({ since }: Waiting): boolean {
    return this.clock() - since > this.options.waitMsMax;
  }

  private refuseLate(share: Share, waiting: Waiting): void {
    this.remove(share, waiting);
    waiting.refuse('late', this.waitMsOf(share));
  }

  private expire(): void {
    for (const share of [...this.ring]) {
      for (let [oldest] = share.waiting; oldest !== undefined && this.isLate(oldest); [oldest] = share.waiting) {
        this.refuseLate(share, oldest);
      }
    }
  }
}
