/** So many at once, and so many per second after that. */
export interface Rate {
  readonly burst: number;
  readonly perSecond: number;
}

/** Counts events against a rate. The clock is only read when the burst is used up. */
export class Allowance {
  private left: number;
  private since = Date.now();

  constructor(private readonly rate: Rate) {
    this.left = rate.burst;
  }

  /** @returns false when the event exceeds the rate. */
  take(): boolean {
    if (this.left >= 1) {
      this.left--;
      return true;
    }
    const now = Date.now();
    this.left = Math.min(this.rate.burst, this.left + ((now - this.since) / 1000) * this.rate.perSecond);
    this.since = now;
    if (this.left < 1) return false;
    this.left--;
    return true;
  }

  /** Gives events back: useful work earns more of what is only overhead. */
  earn(events: number): void {
    if (this.left < this.rate.burst) this.left += events;
  }
}
