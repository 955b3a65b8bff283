/**
 * The end of the event loop's turn: first whatever the sockets have read in it is taken, then everything that is to leave is
 * written. Between two reads, and between two writes, there is mostly the kernel; if the code that handles a request stood between them, too, each
 * would find the processor's caches full of the other's.
 */

/** Takes what a socket has read: until it returns, the octets are its own; what it keeps of them it copies. */
export type OctetsTaker = (octets: Buffer) => void;

export interface Flushable {
  flush(): void;
}

/** What one socket has read in this turn. */
class Arrival {
  taker: OctetsTaker | undefined;
  private octets = NOTHING;

  constructor(private readonly memory: Buffer) {}

  put(octets: Buffer, taker: OctetsTaker): void {
    this.memory.set(octets);
    if (this.octets.length !== octets.length) this.octets = this.memory.subarray(0, octets.length);
    this.taker = taker;
  }

  hand(): void {
    const taker = this.taker!;
    this.taker = undefined;
    taker(this.octets);
  }
}

/** A larger read is taken at once. */
const ARRIVAL_OCTETS_MAX = 2048;
const ARRIVALS_MAX = 64;
const NOTHING: Buffer = Buffer.alloc(0);

const memory = Buffer.allocUnsafeSlow(ARRIVALS_MAX * ARRIVAL_OCTETS_MAX);
const arrivals = Array.from(
  { length: ARRIVALS_MAX },
  (_, at) => new Arrival(memory.subarray(at * ARRIVAL_OCTETS_MAX, (at + 1) * ARRIVAL_OCTETS_MAX)),
);
/** Arrivals are handed over in the order of their coming: from `handed` to `arrived`. */
let arrived = 0;
let handed = 0;
let dirty: Flushable[] = [];
let ending = false;

/** Hands over a copy of the octets at the end of the turn, after all that came before. */
export function takeAtEnd(octets: Buffer, taker: OctetsTaker): void {
  if (octets.length > ARRIVAL_OCTETS_MAX || arrived === ARRIVALS_MAX) takeNow();
  if (octets.length > ARRIVAL_OCTETS_MAX) return taker(octets);
  arrivals[arrived++]!.put(octets, taker);
  endTurn();
}

/** Hands over what has arrived so far. */
export function takeNow(): void {
  try {
    while (handed < arrived) arrivals[handed++]!.hand();
    arrived = handed = 0;
  } finally {
    // A taker that throws takes nothing from the others.
    if (handed < arrived) setImmediate(takeNow);
  }
}

/** Writes at the end of the turn; to be called once until then. */
export function flushAtEnd(outbox: Flushable): void {
  dirty.push(outbox);
  endTurn();
}

function endTurn(): void {
  if (ending) return;
  ending = true;
  // Two, so that what waits for a promise in what was taken is written in this turn, too.
  setImmediate(takeNow);
  setImmediate(flushNow);
}

function flushNow(): void {
  ending = false;
  const outboxes = dirty;
  dirty = [];
  for (const outbox of outboxes) outbox.flush();
}
