/** A call that waits, between the one that came before it and the one that came after. */
export interface WaitingCall<T> {
  readonly call: T;
  /** Since when, as `Date.now()` counts. */
  readonly since: number;
  older: WaitingCall<T> | undefined;
  newer: WaitingCall<T> | undefined;
}

/** Calls in the order in which they came; taken from either end, and out of the middle when one ends while it waits. */
export class WaitingCalls<T> {
  oldest: WaitingCall<T> | undefined;
  newest: WaitingCall<T> | undefined;
  private readonly byCall = new Map<T, WaitingCall<T>>();

  get size(): number {
    return this.byCall.size;
  }

  add(call: T, now: number): void {
    const waiting: WaitingCall<T> = { call, since: now, older: this.newest, newer: undefined };
    if (this.newest === undefined) this.oldest = waiting;
    else this.newest.newer = waiting;
    this.newest = waiting;
    this.byCall.set(call, waiting);
  }

  /** @returns whether it waited */
  delete(call: T): boolean {
    const waiting = this.byCall.get(call);
    if (waiting === undefined) return false;
    this.byCall.delete(call);
    const { older, newer } = waiting;
    if (older === undefined) this.oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.newest = older;
    else newer.older = older;
    return true;
  }

  *[Symbol.iterator](): Iterator<T> {
    for (let waiting = this.oldest; waiting !== undefined; waiting = waiting.newer) yield waiting.call;
  }
}
