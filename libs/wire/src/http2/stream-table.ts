import type { Stream } from './stream.js';

/**
 * The streams of a connection by their ids: open addressing with linear probing.
 *
 * Not a `Map`: V8's maps, when entries come and go with every request, are rebuilt again and again, and each dead table that
 * has grown old points to the next one and all its entries. So the young generation's collector carried every request's
 * objects into the old generation; a scavenge took 25 ms instead of 1.
 */
export class StreamTable {
  private slots: (Stream | undefined)[] = new Array<Stream | undefined>(SLOTS_MIN).fill(undefined);
  private count = 0;

  get size(): number {
    return this.count;
  }

  get(id: number): Stream | undefined {
    const { slots } = this;
    const mask = slots.length - 1;
    for (let at = home(id) & mask; ; at = (at + 1) & mask) {
      const stream = slots[at];
      if (stream === undefined || stream.id === id) return stream;
    }
  }

  /** Adds a stream whose id is not in the table. */
  add(stream: Stream): void {
    if (this.count * 2 >= this.slots.length) this.resize(this.slots.length * 2);
    this.place(stream);
    this.count++;
  }

  delete(id: number): void {
    const { slots } = this;
    const mask = slots.length - 1;
    let hole = home(id) & mask;
    while (slots[hole]?.id !== id) {
      if (slots[hole] === undefined) return;
      hole = (hole + 1) & mask;
    }
    // Those after the hole that would not be found across it move into it (Knuth, TAOCP volume 3, algorithm 6.4R).
    for (let at = (hole + 1) & mask; slots[at] !== undefined; at = (at + 1) & mask) {
      const displaced = (at - home(slots[at]!.id)) & mask;
      if (displaced < ((at - hole) & mask)) continue;
      slots[hole] = slots[at];
      hole = at;
    }
    slots[hole] = undefined;
    this.count--;
    // A burst of streams does not make the connection larger for good.
    if (this.count === 0 && slots.length > SLOTS_KEPT) this.resize(SLOTS_MIN);
  }

  /** The streams at present, in no order; a copy, so that they may end meanwhile. */
  all(): Stream[] {
    return this.slots.filter((stream) => stream !== undefined);
  }

  private place(stream: Stream): void {
    const { slots } = this;
    const mask = slots.length - 1;
    let at = home(stream.id) & mask;
    while (slots[at] !== undefined) at = (at + 1) & mask;
    slots[at] = stream;
  }

  private resize(length: number): void {
    const before = this.slots;
    this.slots = new Array<Stream | undefined>(length).fill(undefined);
    for (const stream of before) if (stream !== undefined) this.place(stream);
  }
}

/** A power of two, as all lengths of the table. */
const SLOTS_MIN = 16;
const SLOTS_KEPT = 256;

/** Ids of one side are all odd or all even (RFC 9113 §5.1.1). */
function home(id: number): number {
  return id >>> 1;
}
