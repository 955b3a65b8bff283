import { isSame, keyOf, type Operation, type Outcome } from './operation.js';

/** One caller that waits for the outcome of an operation. */
export interface Waiter {
  /** In milliseconds since the epoch; undefined: as long as it takes. */
  readonly deadline: number | undefined;
  readonly signal: AbortSignal | undefined;
  readonly queuedAt: number;
  resolve(outcome: Outcome): void;
  reject(error: unknown): void;
}

/** One operation that is to be executed once, for everyone who asked for the same. */
export interface Entry {
  readonly operation: Operation;
  readonly key: string;
  waiters: Waiter[];
  /** Handed to Postgres, at least once. */
  sent: boolean;
  /** Times it was sent and rolled back. */
  attempts: number;
  /** The next operation on the same allocation; it becomes ready when this one is over. */
  next: Entry | undefined;
}

/**
 * Operations in order of arrival, of which no two that are ready or sent concern the same allocation: a later one waits
 * behind the earlier, or joins it when it asks for the same.
 */
export class ReadyQueue {
  private ready: Entry[] = [];
  private head = 0;
  /** The last entry of every allocation that has one. */
  private readonly last = new Map<string, Entry>();

  /** Entries that could be sent at once. */
  get length(): number {
    return this.ready.length - this.head;
  }

  add(operation: Operation, waiter: Waiter): Entry {
    const key = keyOf(operation);
    const before = this.last.get(key);
    // A lease is extended from the moment of its execution, so one that was sent already comes too early for a later caller.
    if (before && isSame(before.operation, operation) && !(before.sent && operation.kind === 'extend')) {
      before.waiters.push(waiter);
      return before;
    }
    const entry: Entry = { operation, key, waiters: [waiter], sent: false, attempts: 0, next: undefined };
    this.last.set(key, entry);
    if (before) before.next = entry;
    else this.ready.push(entry);
    return entry;
  }

  /** The next entries that someone still waits for, `max` at most. */
  take(max: number): Entry[] {
    const taken: Entry[] = [];
    while (taken.length < max && this.head < this.ready.length) {
      const entry = this.ready[this.head++] as Entry;
      if (entry.waiters.length > 0) taken.push(entry);
      else this.end(entry);
    }
    if (this.head === this.ready.length) {
      this.ready = [];
      this.head = 0;
    } else if (this.head >= COMPACT_AT) {
      this.ready.splice(0, this.head);
      this.head = 0;
    }
    return taken;
  }

  /** Puts entries that were taken back, before everything else. */
  putBack(entries: readonly Entry[]): void {
    this.ready.splice(0, this.head, ...entries);
    this.head = 0;
  }

  /** The entry is over: the next one on the same allocation becomes ready. Gives those who waited for it. */
  end(entry: Entry): Waiter[] {
    if (entry.next) this.ready.push(entry.next);
    else if (this.last.get(entry.key) === entry) this.last.delete(entry.key);
    const { waiters } = entry;
    entry.waiters = [];
    return waiters;
  }
}

const COMPACT_AT = 4096;
