import { performance } from 'node:perf_hooks';

/** A loop that is busy for less than this between two beats may not be noticed. */
const BEAT_MS = 20;

/**
 * How late the event loop is: what it reads now may have waited in the kernel for so long. A timer that is overdue tells; nothing
 * is measured before somebody asks.
 */
export class LoopLag {
  private dueAt = 0;
  /** When the last beat was due, if it came too late and what had waited meanwhile is still being taken; else 0. */
  private lateSince = 0;
  private timer: NodeJS.Timeout | undefined;

  start(): void {
    if (this.timer !== undefined) return;
    this.dueAt = performance.now() + BEAT_MS;
    this.timer = setInterval(() => this.beat(), BEAT_MS).unref();
  }

  stop(): void {
    clearInterval(this.timer);
    this.timer = undefined;
    this.lateSince = 0;
  }

  /** In milliseconds. */
  get now(): number {
    return this.timer === undefined ? 0 : Math.max(0, performance.now() - (this.lateSince || this.dueAt));
  }

  private beat(): void {
    const now = performance.now();
    const { dueAt } = this;
    this.dueAt = now + BEAT_MS;
    if (now - dueAt < BEAT_MS) return;
    this.lateSince = dueAt;
    // Timers come before reads in a turn of the loop, and immediates after them: what is read now is taken before the second.
    setImmediate(() => setImmediate(() => (this.lateSince = 0)));
  }
}
