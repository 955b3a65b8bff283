import { Problem } from '@sluice/problem';
import { DeadlineError } from '@sluice/storage';
import { BatchFailure, type BatchExecutor, type BatchResult } from './batch-executor.js';
import type { Operation, Outcome } from './operation.js';
import { ReadyQueue, type Entry, type Waiter } from './ready-queue.js';

export interface GroupCommitLimits {
  /** Operations in one batch at most. */
  readonly batchMax: number;
  /** Callers that wait at most, sent or not; more are refused with OVERLOADED. */
  readonly waitingMax: number;
  /** A caller whose operation was not sent after this long is refused with OVERLOADED; in milliseconds. */
  readonly queueMsMax: number;
  /** A second batch is sent behind one that is under way only when at least this many operations are ready. */
  readonly overlapMin: number;
}

/** Where batches are executed; each in the order in which they are given to it. */
export interface Executors {
  /** For batches that pass over nodes which another transaction holds. */
  readonly prompt: BatchExecutor;
  /** For batches that wait for such nodes, so that others do not wait behind them. */
  readonly patient: BatchExecutor;
}

/** What happens in the batcher, for metrics and the log. */
export interface GroupCommitEvents {
  batch(size: number, wait: boolean, seconds: number): void;
  failed(failure: BatchFailure, size: number): void;
  refused(): void;
}

/** Who asks, and for how long. */
export interface Patience {
  readonly deadline: number | undefined;
  readonly signal: AbortSignal | undefined;
}

/** Batches under way on the prompt connection: one that Postgres executes, and one that it finds when it is done with that. */
const UNDER_WAY_MAX = 2;
/** A batch that was rolled back is tried this often before it is split, and a single operation before it is given up. */
const ATTEMPTS_MAX = 5;
/** How often callers whose time is over are looked for, in milliseconds. */
const PATIENCE_MS = 20;
/** How long a connection that could not be opened rests, in milliseconds. */
const RECONNECT_MS = 100;

/**
 * Group commit: operations that arrive while a batch is being committed form the next one. No timer delays anything, and
 * nobody is answered before the commit.
 *
 * Under load two batches are under way on one connection, so that Postgres always has the next one at hand while answers are
 * read here and the batch after it is made. What came back `again` goes into a batch that waits for locked nodes, on a
 * connection of its own.
 */
export class GroupCommit {
  private readonly queue = new ReadyQueue();
  /** Entries that need a node that was locked. */
  private blocked: Entry[] = [];
  private blockedRunning = false;
  /** Batches under way on the prompt connection. */
  private underWay = 0;
  private readonly waiting = new Map<Waiter, Entry>();
  private readonly running = new Set<Promise<void>>();
  private starting = false;
  private sweepWanted = false;
  private watch: NodeJS.Timeout | undefined;
  private closing = false;

  constructor(
    private readonly executors: Executors,
    private readonly limits: GroupCommitLimits,
    private readonly events: GroupCommitEvents,
    private readonly clock: () => number = Date.now,
  ) {}

  /** Callers that wait now. */
  get waitingCount(): number {
    return this.waiting.size;
  }

  /**
   * Executes one operation, and answers when it is committed.
   *
   * @throws DeadlineError when the caller's time is over: not executed when it was not sent yet, recorded for a retry otherwise
   * @throws Problem OVERLOADED beyond the limits; UNAVAILABLE when Postgres cannot be reached or the outcome is not known
   */
  submit(operation: Operation, patience: Patience): Promise<Outcome> {
    if (this.closing) return Promise.reject(new Problem('UNAVAILABLE', 'The service is stopping.'));
    if (this.waiting.size >= this.limits.waitingMax) return Promise.reject(this.overloaded());
    const now = this.clock();
    if (isOver(patience, now)) return Promise.reject(new DeadlineError('the deadline has passed'));
    return new Promise<Outcome>((resolve, reject) => {
      const waiter: Waiter = { ...patience, queuedAt: now, resolve, reject };
      this.waiting.set(waiter, this.queue.add(operation, waiter));
      this.watch ??= setInterval(() => this.losePatience(), PATIENCE_MS);
      this.start();
    });
  }

  /** Ends leases that are due, with the next batch or one of its own. */
  sweep(): void {
    this.sweepWanted = true;
    this.start();
  }

  /** Finishes what was submitted, then closes the connections. */
  async close(): Promise<void> {
    this.closing = true;
    while (this.waiting.size > 0 || this.running.size > 0) await Promise.race([...this.running, rest(PATIENCE_MS)]);
    clearInterval(this.watch);
    await this.executors.prompt.close();
    await this.executors.patient.close();
  }

  /** After everything else that is ready to run now, so that calls which arrive together share a batch. */
  private start(): void {
    if (this.starting) return;
    this.starting = true;
    setImmediate(() => {
      this.starting = false;
      this.assign();
    });
  }

  private assign(): void {
    if (this.blocked.length > 0 && !this.blockedRunning) {
      const entries = this.blocked.filter((entry) => entry.waiters.length > 0);
      for (const gone of this.blocked) if (gone.waiters.length === 0) this.queue.end(gone);
      this.blocked = entries.splice(this.limits.batchMax);
      if (entries.length > 0) this.run(entries, true);
    }
    while (this.mayRun()) {
      this.sweepWanted = false;
      this.run(this.takeLive(), false);
    }
  }

  private mayRun(): boolean {
    if (this.underWay === 0) return this.queue.length > 0 || this.sweepWanted;
    return this.underWay < UNDER_WAY_MAX && this.queue.length >= this.limits.overlapMin;
  }

  /** How many of those that are ready go into one batch: with enough for two and nothing under way, half. */
  private share(): number {
    const ready = this.queue.length;
    const two = this.underWay === 0 && ready >= 2 * this.limits.overlapMin;
    return Math.min(this.limits.batchMax, two ? Math.ceil(ready / 2) : ready);
  }

  /** Entries to send. A caller whose deadline has passed is dropped here, and nothing was executed for it. */
  private takeLive(): Entry[] {
    const now = this.clock();
    const entries = this.queue.take(this.share());
    return entries.filter((entry) => {
      for (const waiter of [...entry.waiters])
        if (isOver(waiter, now)) this.abandon(waiter, new DeadlineError('too late'));
      if (entry.waiters.length > 0) return true;
      this.queue.end(entry);
      return false;
    });
  }

  private run(entries: Entry[], wait: boolean): void {
    if (wait) this.blockedRunning = true;
    else this.underWay++;
    const running = this.execute(entries, wait).finally(() => {
      if (wait) this.blockedRunning = false;
      else this.underWay--;
      this.running.delete(running);
      this.assign();
    });
    this.running.add(running);
  }

  private async execute(entries: Entry[], wait: boolean): Promise<void> {
    for (const entry of entries) entry.sent = true;
    const started = performance.now();
    let result: BatchResult;
    try {
      const executor = wait ? this.executors.patient : this.executors.prompt;
      result = await executor.apply(
        entries.map((entry) => entry.operation),
        wait,
      );
    } catch (error) {
      const failure = error instanceof BatchFailure ? error : new BatchFailure('refused', error);
      this.events.failed(failure, entries.length);
      await this.recover(entries, wait, failure);
      return;
    }
    this.events.batch(entries.length, wait, (performance.now() - started) / 1000);
    if (result.moreDue) this.sweepWanted = true;
    for (let index = 0; index < entries.length; index++) {
      const entry = entries[index] as Entry;
      const outcome = result.outcomes[index] as Outcome;
      if (outcome.result === 'again') this.blocked.push(entry);
      else for (const waiter of this.finish(entry)) waiter.resolve(outcome);
    }
  }

  private async recover(entries: Entry[], wait: boolean, failure: BatchFailure): Promise<void> {
    switch (failure.kind) {
      case 'rolled back':
        for (const entry of entries) entry.attempts++;
        if (entries.every((entry) => entry.attempts < ATTEMPTS_MAX)) return this.execute(entries, true);
        return this.split(entries, wait, failure);
      case 'refused':
        return this.split(entries, wait, failure);
      case 'blocked':
        for (const entry of entries) this.fail(entry, this.overloaded());
        return undefined;
      case 'unavailable':
        // As the driver's error, which says what it is to callers.
        for (const entry of entries) this.fail(entry, failure.cause);
        return undefined;
      case 'not sent':
        for (const entry of entries) entry.sent = false;
        this.queue.putBack(entries);
        return rest(RECONNECT_MS);
      case 'unknown':
        // All but an extension give the same answer and change nothing when they are repeated after a commit.
        for (const entry of entries.filter(({ operation }) => operation.kind === 'extend')) {
          this.fail(entry, new Problem('UNAVAILABLE', 'The outcome is not known; try again.', { cause: failure }));
        }
        for (const entry of entries) entry.sent = false;
        this.queue.putBack(entries.filter(({ operation }) => operation.kind !== 'extend'));
        return rest(RECONNECT_MS);
    }
  }

  /** So that one operation that Postgres refuses does not fail its neighbours. */
  private async split(entries: Entry[], wait: boolean, failure: BatchFailure): Promise<void> {
    if (entries.length === 1) {
      this.fail(entries[0] as Entry, new Problem('INTERNAL', '', { cause: failure }));
      return;
    }
    const middle = Math.ceil(entries.length / 2);
    await this.execute(entries.slice(0, middle), wait);
    await this.execute(entries.slice(middle), wait);
  }

  private losePatience(): void {
    const now = this.clock();
    for (const [waiter, entry] of this.waiting) {
      if (isOver(waiter, now)) this.abandon(waiter, new DeadlineError('the deadline passed before the commit'));
      else if (!entry.sent && now - waiter.queuedAt > this.limits.queueMsMax) this.abandon(waiter, this.overloaded());
    }
    if (this.waiting.size > 0) return;
    clearInterval(this.watch);
    this.watch = undefined;
  }

  private abandon(waiter: Waiter, error: unknown): void {
    const entry = this.waiting.get(waiter);
    this.waiting.delete(waiter);
    entry?.waiters.splice(entry.waiters.indexOf(waiter), 1);
    waiter.reject(error);
  }

  private finish(entry: Entry): Waiter[] {
    const waiters = this.queue.end(entry);
    for (const waiter of waiters) this.waiting.delete(waiter);
    return waiters;
  }

  private fail(entry: Entry, error: unknown): void {
    for (const waiter of this.finish(entry)) waiter.reject(error);
  }

  private overloaded(): Problem {
    this.events.refused();
    return new Problem('OVERLOADED', 'More calls wait than can be served in time.', {
      details: { retry_after_ms: Math.max(100, Math.round(this.limits.queueMsMax / 4)) },
    });
  }
}

function isOver({ deadline, signal }: Patience, now: number): boolean {
  return (deadline !== undefined && deadline <= now) || signal?.aborted === true;
}

function rest(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
