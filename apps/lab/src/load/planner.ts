/**
 * Plans sends ahead of time, whatever the answers do: the open model. A send that is due while the generator or the server is
 * busy keeps its planned moment, and its latency counts from there, so that a stall is seen by every call that it delayed
 * (no coordinated omission).
 */
export class RatePlanner {
  private nextMs: number;

  /**
   * @param rateAt calls per second wanted at a moment; 0 plans nothing
   * @param startMs the first moment of the plan
   */
  constructor(
    private readonly rateAt: (elapsedMs: number) => number,
    startMs: number,
  ) {
    this.nextMs = startMs;
  }

  /** The planned moments up to and with `nowMs`, each given once, in order. */
  *due(nowMs: number): Generator<number> {
    while (this.nextMs <= nowMs) {
      const rate = this.rateAt(this.nextMs);
      if (rate <= 0) {
        // Looks again a little later, so that a rate that rises from 0 is met in time.
        this.nextMs += IDLE_STEP_MS;
        continue;
      }
      const planned = this.nextMs;
      this.nextMs += 1000 / rate;
      yield planned;
    }
  }

  /** The moment at which to ask again. */
  get next(): number {
    return this.nextMs;
  }
}

const IDLE_STEP_MS = 5;

/** `count` moments spread evenly from `fromMs`, `perSecond` of them each second. */
export class EvenPlan {
  private given = 0;

  constructor(
    private readonly count: number,
    private readonly fromMs: number,
    private readonly perSecond: number,
  ) {}

  /** The planned moments up to and with `nowMs`, each given once. */
  *due(nowMs: number): Generator<number> {
    while (this.given < this.count) {
      const planned = this.next;
      if (planned > nowMs) return;
      this.given++;
      yield planned;
    }
  }

  get left(): number {
    return this.count - this.given;
  }

  /** The moment at which to ask again; infinite when all were given. */
  get next(): number {
    return this.left > 0 ? this.fromMs + (this.given * 1000) / this.perSecond : Number.POSITIVE_INFINITY;
  }
}

/** Things to do at a moment that is known only when the moment before it has passed: retries after a wait. A binary heap. */
export class Agenda<T> {
  private readonly heap: { atMs: number; what: T }[] = [];

  add(atMs: number, what: T): void {
    this.heap.push({ atMs, what });
    let child = this.heap.length - 1;
    while (child > 0) {
      const parent = (child - 1) >> 1;
      if (this.heap[parent]!.atMs <= this.heap[child]!.atMs) return;
      this.swap(parent, child);
      child = parent;
    }
  }

  /** The moment at which to ask again; infinite when there is nothing to do. */
  get next(): number {
    return this.heap[0]?.atMs ?? Number.POSITIVE_INFINITY;
  }

  /** What is due, earliest first. */
  *due(nowMs: number): Generator<{ atMs: number; what: T }> {
    while (this.heap.length > 0 && this.heap[0]!.atMs <= nowMs) yield this.pop();
  }

  private pop(): { atMs: number; what: T } {
    const first = this.heap[0]!;
    const last = this.heap.pop()!;
    if (this.heap.length === 0) return first;
    this.heap[0] = last;
    for (let parent = 0; ;) {
      const [left, right] = [2 * parent + 1, 2 * parent + 2];
      let least = parent;
      if (left < this.heap.length && this.heap[left]!.atMs < this.heap[least]!.atMs) least = left;
      if (right < this.heap.length && this.heap[right]!.atMs < this.heap[least]!.atMs) least = right;
      if (least === parent) return first;
      this.swap(parent, least);
      parent = least;
    }
  }

  private swap(a: number, b: number): void {
    [this.heap[a], this.heap[b]] = [this.heap[b]!, this.heap[a]!];
  }
}
