/**
 * A sliding window that really is one: in any trailing window no more than `limit` units are admitted.
 *
 * The exact form is the log of all admissions. It is kept in bounded space as the "basic window" summary of stream
 * statistics (Zhu and Shasha, StatStream, VLDB 2002; the coarse end of Datar, Gionis, Indyk, Motwani, "Maintaining
 * stream statistics over sliding windows", SODA 2002): admissions within one grain share an entry, dated by its
 * **latest**. An admission is therefore counted for at least a window and for less than a window and a grain, which errs
 * only towards refusing, and is exact when a grain holds one instant's admissions. The usual two-counter approximation
 * (this window's count and a share of the last one's) gives no such guarantee.
 *
 * Times are whole microseconds.
 */
export interface SlidingWindowState {
  /** Entries from the oldest; those before `head` have left the window. */
  times: number[];
  counts: number[];
  head: number;
  /** Units in the entries from `head` on. */
  sum: number;
  /** Where the last entry's grain ends. */
  grainEnd: number;
}

export interface SlidingWindowRule {
  /** The limit. */
  readonly capacity: number;
  readonly windowUs: number;
  readonly grainUs: number;
}

/** Entries that left the window are cut off in pieces of this size. */
const DEAD_ENTRIES_MAX = 32;

export function newSlidingWindow(): SlidingWindowState {
  return { times: [], counts: [], head: 0, sum: 0, grainEnd: 0 };
}

/** How long until `cost` fits, in microseconds: 0 when it fits now, Infinity when it is more than the limit. */
export function slidingWindowWait(
  rule: SlidingWindowRule,
  state: SlidingWindowState,
  cost: number,
  now: number,
): number {
  leaveBehind(rule, state, now);
  let excess = state.sum + cost - rule.capacity;
  if (excess <= 0) return 0;
  if (cost > rule.capacity) return Infinity;
  let entry = state.head;
  while ((excess -= state.counts[entry] as number) > 0) entry++;
  return (state.times[entry] as number) + rule.windowUs - now;
}

/** Debits what {@link slidingWindowWait} just said fits. */
export function slidingWindowTake(rule: SlidingWindowRule, state: SlidingWindowState, cost: number, now: number): void {
  const { times, counts } = state;
  const last = times.length - 1;
  if (now < state.grainEnd && last >= state.head) {
    times[last] = now;
    counts[last] = (counts[last] as number) + cost;
  } else {
    times.push(now);
    counts.push(cost);
    state.grainEnd = grainEndAfter(rule, now);
  }
  state.sum += cost;
}

/**
 * Undoes a debit whose call did not take place after all: from the oldest entries, so that what stays counts longest. A debit that
 * has left the window is undone already.
 */
export function slidingWindowGive(
  rule: SlidingWindowRule,
  state: SlidingWindowState,
  cost: number,
  takenAt: number,
  now: number,
): void {
  if (now - takenAt >= rule.windowUs) return;
  leaveBehind(rule, state, now);
  let left = Math.min(cost, state.sum);
  state.sum -= left;
  while (left > 0) {
    const count = state.counts[state.head] as number;
    if (count > left) {
      state.counts[state.head] = count - left;
      return;
    }
    left -= count;
    state.head++;
  }
}

/** Units that can be had at the time that {@link slidingWindowWait} was last asked about. */
export function slidingWindowRemaining(rule: SlidingWindowRule, state: SlidingWindowState): number {
  return state.sum < rule.capacity ? rule.capacity - state.sum : 0;
}

/** Microseconds until nothing counts any more, at the time that {@link slidingWindowWait} was last asked about. */
export function slidingWindowReset(rule: SlidingWindowRule, state: SlidingWindowState, now: number): number {
  return state.sum === 0 ? 0 : (state.times[state.times.length - 1] as number) + rule.windowUs - now;
}

/** Drops the entries that have left the window. */
function leaveBehind(rule: SlidingWindowRule, state: SlidingWindowState, now: number): void {
  const { times, counts } = state;
  const length = times.length;
  if (state.head < length && (times[length - 1] as number) > now) dateBack(rule, state, now);
  const start = now - rule.windowUs;
  let head = state.head;
  while (head < length && (times[head] as number) <= start) {
    state.sum -= counts[head] as number;
    head++;
  }
  state.head = head;
  if (head === length) {
    times.length = 0;
    counts.length = 0;
    state.head = 0;
  } else if (head > DEAD_ENTRIES_MAX) {
    times.splice(0, head);
    counts.splice(0, head);
    state.head = 0;
  }
}

/** The clock was set back: everything counts as of now, so that it leaves the window after one window and not later. */
function dateBack(rule: SlidingWindowRule, state: SlidingWindowState, now: number): void {
  state.times = [now];
  state.counts = [state.sum];
  state.head = 0;
  state.grainEnd = grainEndAfter(rule, now);
}

function grainEndAfter(rule: SlidingWindowRule, now: number): number {
  return (Math.floor(now / rule.grainUs) + 1) * rule.grainUs;
}
