/**
 * Calls that were sent one after the other under one limit. They are judged when they are back, all of them, so that short
 * answers do not come first and count more.
 */
export class Cohort {
  /** When the first and the last of it were sent; -1: not yet. */
  firstAt = -1;
  shutAt = -1;
  sent = 0;
  back = 0;
  /** Of these, how many got no answer in the time of two calls. */
  late = 0;
  /** Of these, how many were answered, and after how long in all. */
  answered = 0;
  answerSum = 0;
  /** Calls that were counted as sent, and whose end said nothing. */
  withdrawals = 0;
  /** Calls that found the limit met, and all that came, since the cohort was opened. */
  blocked = 0;
  offered = 0;
  /** Calls that ended since it was opened, of whatever cohort. */
  ended = 0;
  /** The limit was met. */
  met = false;
  private sum = 0;
  private squares = 0;
  /** The times at which those were sent that are out. */
  private sentSum = 0;

  constructor(
    readonly id: number,
    readonly openedAt: number,
    /** The limit is held down, to see what a call takes when few wait. */
    readonly probing: boolean,
  ) {}

  join(now: number): void {
    if (this.firstAt < 0) this.firstAt = now;
    this.sent++;
    this.sentSum += now;
  }

  returned(sentAt: number, now: number, late: boolean): void {
    const took = Math.max(0, now - sentAt);
    this.back++;
    this.sum += took;
    this.squares += took * took;
    this.sentSum -= sentAt;
    if (late) this.late++;
  }

  /** Its end says nothing. */
  withdrawn(sentAt: number): void {
    this.sent--;
    this.withdrawals++;
    this.sentSum -= sentAt;
  }

  get out(): number {
    return this.sent - this.back;
  }

  /** Mean of those that are back, in milliseconds. */
  get meanBack(): number {
    return this.back === 0 ? 0 : this.sum / this.back;
  }

  /** Mean of all; those that are still out count with their age. */
  mean(now: number): number {
    return (this.sum + this.out * now - this.sentSum) / this.sent;
  }

  /** Standard deviation of those that are back. */
  get deviation(): number {
    return Math.sqrt(Math.max(0, this.squares / Math.max(1, this.back) - this.meanBack ** 2));
  }
}
