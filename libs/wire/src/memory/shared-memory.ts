import { Alarm } from '../timers/wheel.js';
import { MemoryAccount, type RoomWaiter } from './account.js';

/** How often those who wait are looked after, in milliseconds. */
const PASS_MS = 10;

/** The account of all clients together, and those who wait for room in it. */
export class SharedMemory extends MemoryAccount {
  /** Waits that ended without room, and connections that were ended because they held most. */
  readonly counters = { refused: 0, shed: 0 };
  /** Since when each waits, as `Date.now()` counts. */
  private readonly waiting = new Map<RoomWaiter, number>();
  private readonly alarm = new Alarm(() => this.pass());
  private alarmSet = false;

  constructor(
    limit: number,
    /** Who has waited for so long, in milliseconds, goes without. */
    private readonly waitMs: number,
  ) {
    super(limit, undefined);
  }

  /** How many wait. */
  get waiters(): number {
    return this.waiting.size;
  }

  override wait(waiter: RoomWaiter): void {
    if (!this.waiting.has(waiter)) this.waiting.set(waiter, Date.now());
    if (this.alarmSet) return;
    this.alarmSet = true;
    this.alarm.setTimer(PASS_MS);
  }

  override stopWaiting(waiter: RoomWaiter): void {
    this.waiting.delete(waiter);
  }

  protected override onShed(): void {
    this.counters.shed++;
  }

  private pass(): void {
    const now = Date.now();
    for (const [waiter, since] of [...this.waiting]) {
      // One that went on may have ended others.
      if (!this.waiting.has(waiter)) continue;
      const { account } = waiter;
      // Those who hold most give way late: they may be done in time.
      if (now - since >= this.waitMs / 2 && !this.hasRoom) this.shedGreediest(account.top);
      if (account.admits(waiter) || account.goFirst(waiter)) {
        this.waiting.delete(waiter);
        waiter.onRoom();
      } else if (now - since >= this.waitMs) {
        this.waiting.delete(waiter);
        this.counters.refused++;
        waiter.onNoRoom();
      }
    }
    this.alarmSet = this.waiting.size > 0;
    if (this.alarmSet) this.alarm.setTimer(PASS_MS);
  }
}
