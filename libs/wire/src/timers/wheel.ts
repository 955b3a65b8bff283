/**
 * One coarse timer for the whole process. Deadlines of calls are set and cancelled far more often than they expire, so both
 * are two pointer changes here; the real timer only wakes for slots that hold something. A timer fires up to TICK_MS late,
 * never early, and does not keep the process alive: the socket it watches over does.
 */

// A global of Node is looked up anew each time it is used; what is imported is not.
import { performance } from 'node:perf_hooks';

const TICK_MS = 8;
const SLOTS = 512;

/** Something that expires. A subclass, or `Alarm`, says what then happens. */
export abstract class Timer {
  /** The tick at which this expires; -1 while it is not set. */
  private dueTick = -1;
  private before: Timer | undefined;
  private after: Timer | undefined;

  abstract onTimeout(): void;

  get isSet(): boolean {
    return this.dueTick >= 0;
  }

  /** Sets (or sets again) to expire in `ms` milliseconds. */
  setTimer(ms: number): void {
    this.clearTimer();
    const tick = Math.floor((performance.now() + Math.max(0, ms)) / TICK_MS) + 1;
    this.dueTick = tick;
    const slot = tick & (SLOTS - 1);
    const first = slots[slot];
    this.after = first;
    if (first !== undefined) first.before = this;
    slots[slot] = this;
    count++;
    if (tick < wakeTick) wakeAt(tick);
  }

  clearTimer(): void {
    if (this.dueTick < 0) return;
    const { before, after } = this;
    if (before !== undefined) before.after = after;
    else slots[this.dueTick & (SLOTS - 1)] = after;
    if (after !== undefined) after.before = before;
    this.before = this.after = undefined;
    this.dueTick = -1;
    count--;
  }

  /** Fires every timer that is due in a slot. */
  static expire(slot: number, tick: number): void {
    const due: Timer[] = [];
    for (let timer = slots[slot]; timer !== undefined; timer = timer.after) if (timer.dueTick <= tick) due.push(timer);
    // One that fires may clear another; that one has no due tick any more.
    for (const timer of due) {
      if (timer.dueTick < 0 || timer.dueTick > tick) continue;
      timer.clearTimer();
      timer.onTimeout();
    }
  }
}

/** A timer with a callback, for what is set seldom. */
export class Alarm extends Timer {
  constructor(private readonly callback: () => void) {
    super();
  }

  override onTimeout(): void {
    this.callback();
  }
}

/** Timers set now; 0 when the process owes nothing. */
export function timersSet(): number {
  return count;
}

const slots: (Timer | undefined)[] = new Array<Timer | undefined>(SLOTS).fill(undefined);
let count = 0;
/** The tick up to which everything has been fired. */
let doneTick = Math.floor(performance.now() / TICK_MS);
let wakeTick = Infinity;
let wake: NodeJS.Timeout | undefined;

function wakeAt(tick: number): void {
  if (wake !== undefined) clearTimeout(wake);
  wakeTick = tick;
  wake = setTimeout(onWake, Math.max(1, Math.ceil(tick * TICK_MS - performance.now())));
  wake.unref();
}

function onWake(): void {
  wake = undefined;
  wakeTick = Infinity;
  const now = Math.floor(performance.now() / TICK_MS);
  const from = Math.max(doneTick + 1, now - SLOTS + 1);
  doneTick = now;
  for (let tick = from; tick <= now; tick++) Timer.expire(tick & (SLOTS - 1), now);
  if (count === 0) return;
  for (let tick = now + 1; tick <= now + SLOTS; tick++) {
    if (slots[tick & (SLOTS - 1)] !== undefined) {
      if (tick < wakeTick) wakeAt(tick);
      return;
    }
  }
}
