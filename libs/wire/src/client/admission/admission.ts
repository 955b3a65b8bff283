/** Which calls of a channel are sent at once, which wait until one in flight has ended, and which are refused. */
import type { AdmittedCall, Limiter, SendingEnd } from './limiter.js';
import { type Line, type WaitingCall, WaitingCalls } from './waiting-calls.js';

export interface AdmissionOptions {
  /** Calls that wait at most: a bound on memory, since time bounds them first. */
  readonly maxQueued: number;
  /**
   * A call waits so long at most while the queue is young, or for the time of two calls, in milliseconds; `patience`: three
   * quarters of what its callers have, and at least 400.
   */
  readonly maxWaitMs: number | 'patience';
}

/**
 * Why a call was refused. `queue_full`: too many wait. `queue_wait`: it waited as long as it may. `deadline`: the time it has
 * left is less than what calls lately took.
 */
export type Refusal = 'queue_full' | 'queue_wait' | 'deadline';

/** How long a burst may last when nobody has said: who waits for seconds anyway is served later rather than refused. */
const BURST_MS = 400;
const BURST_SHARE = 0.75;

/** While a queue stands, the wait is a part of what a call takes, and at least this long, in milliseconds. */
const STANDING_WAIT_SHARE = 0.25;
const STANDING_SLACK_SHARE = 0.5;
const STANDING_WAIT_MS = 20;

/**
 * Of the places in a queue that stands, each of so many goes to whoever has waited longest: those are the calls that have the time
 * to wait, and newcomers would keep them waiting until they have none.
 */
const OLDEST_EVERY = 4;

/**
 * So many calls at most are in flight beside those that the limit counts, one of a line. They are of shares that send little while
 * others have filled the service: these need not wait until the flood's calls have ended, which takes long when the limit falls.
 */
const BESIDE_MAX = 16;

/** While calls wait, the limit is looked at again so often, in milliseconds, although none of those in flight has ended. */
const WATCH_MS = 100;
const SOON_MS = 8;

/**
 * Calls wait in lines, one for each share, which take turns: who sends a flood waits behind the own calls, and where all places in
 * the queue are taken, the longest line gives one up.
 *
 * A line is young when it began a moment ago: a burst, which is over when everyone in it has been served, in the order in
 * which they came. One that has stood longer than a burst lasts does not go away by waiting: then the newest is served first,
 * whose caller has the most time left, and nobody waits long.
 */
export class Admission<C extends AdmittedCall> {
  /** That the limit counts, and beside them. */
  inFlight = 0;
  private beside = 0;
  readonly waiting = new WaitingCalls<C>();
  readonly refused: Record<Refusal, number> = { queue_full: 0, queue_wait: 0, deadline: 0 };
  /** Calls that waited and were sent, and how long in all, in milliseconds. */
  readonly waited = { calls: 0, ms: 0 };
  /** When the peer answered last; 0: never. */
  heardAt = 0;
  /** When the first call was sent that nobody has answered since; 0: the peer has answered, or was asked nothing. */
  private unansweredSince = 0;
  /** Nothing can be sent before somebody can be reached, which is no fault of those who wait. */
  private reachableAt = 0;

  constructor(
    readonly limiter: Limiter,
    private readonly options: AdmissionOptions,
    /** Told of each call that waited and may no longer. */
    private readonly refuse: (call: C, why: Refusal) => void,
  ) {}

  /** Whether a call that comes now may be sent at once, as far as those are concerned that are in flight or came before it. */
  get open(): boolean {
    return this.waiting.size === 0 && this.inFlight < this.limiter.limit;
  }

  /** As many are in flight as may be. */
  get full(): boolean {
    return this.inFlight >= this.limiter.limit;
  }

  sent(call: C, now: number): void {
    if (call.beside !== undefined) {
      this.beside++;
      call.sentAt = now;
      return;
    }
    this.inFlight++;
    call.sentAt = now;
    if (this.unansweredSince === 0) this.unansweredSince = now;
    this.limiter.sent(call, now, this.inFlight);
  }

  gaveBack(call: C, now: number, end: SendingEnd): void {
    if (call.beside !== undefined) {
      call.beside.hasBeside = false;
      call.beside = undefined;
      call.sentAt = 0;
      this.beside--;
      return;
    }
    this.inFlight--;
    this.limiter.ended(call, now, end);
    call.sentAt = 0;
  }

  /** The peer has answered a call, whatever it said. */
  heard(now: number): void {
    this.heardAt = now;
    this.unansweredSince = this.inFlight > 0 ? now : 0;
  }

  /** How long calls have been sent without an answer to any, although those who made them may have left. In milliseconds. */
  unansweredMs(now: number): number {
    return this.unansweredSince === 0 ? 0 : now - this.unansweredSince;
  }

  /** @returns why it may not wait; undefined: it waits */
  wait(call: C, now: number): Refusal | undefined {
    const { full, limiter, waiting } = this;
    if (full) limiter.blocked(now);
    if (full && this.hopeless(call, now)) return this.count('deadline');
    const line = waiting.lineOf(call.share);
    if (waiting.size >= this.options.maxQueued && !this.makeRoom(line, now)) return this.count('queue_full');
    if (line.size === 0) {
      if (line.standing && now - line.emptyAt > this.burst) line.standing = false;
      line.beganAt = now;
    }
    if (call.arrivedAt === 0) call.arrivedAt = now;
    waiting.add(call, line, now);
    return undefined;
  }

  /** Whether a line that is longer has given a place up: that of the call which would be refused first, or served last. */
  private makeRoom(line: Line<C>, now: number): boolean {
    const { longest } = this.waiting;
    if (longest === undefined || longest.size <= line.size + 1) return false;
    const { call } = (this.stands(longest, now) ? longest.oldest : longest.newest)!;
    this.left(call, now);
    this.refuse(call, this.count('queue_full'));
    return true;
  }

  /** A call that waited has ended. */
  left(call: C, now: number): void {
    const line = this.waiting.delete(call);
    if (line?.size === 0) line.emptyAt = now;
  }

  /** The call that is sent next, if one may be. Those that waited too long are refused. */
  next(now: number): C | undefined {
    for (;;) {
      const line = this.full ? this.lineBeside() : this.firstLine();
      if (line === undefined) return undefined;
      const waiting = this.takeFrom(line, now);
      if (waiting === undefined) continue;
      this.waiting.turned(line);
      this.waited.calls++;
      this.waited.ms += now - waiting.since;
      if (this.full) (waiting.call.beside = line).hasBeside = true;
      return waiting.call;
    }
  }

  private firstLine(): Line<C> | undefined {
    const [line] = this.waiting.busy;
    return line;
  }

  /** Of which a call may be sent although as many are in flight as may be: not that of the flood. */
  private lineBeside(): Line<C> | undefined {
    const { busy } = this.waiting;
    if (busy.size < 2 || this.beside >= BESIDE_MAX) return undefined;
    const { longest } = this.waiting;
    for (const line of busy) if (line !== longest && !line.hasBeside) return line;
    return undefined;
  }

  /** Who is served next in a line; undefined when the one whose turn it was has waited too long. */
  private takeFrom(line: Line<C>, now: number): WaitingCall<C> | undefined {
    const newest = this.stands(line, now) && ++line.places % OLDEST_EVERY !== 0;
    const waiting = (newest ? line.newest : line.oldest)!;
    const { call } = waiting;
    const tooLong = now - this.waitsFrom(waiting.since) > Math.max(call.waitMs, this.maxWait(line, now));
    this.left(call, now);
    if (tooLong) this.refuse(call, this.count('queue_wait'));
    else if (this.hopeless(call, now)) this.refuse(call, this.count('deadline'));
    else return waiting;
    return undefined;
  }

  /** Refuses those that have waited too long. Others may be sent afterwards. */
  expire(now: number): void {
    this.limiter.tick(now, this.full && this.waiting.size > 0);
    for (const line of [...this.waiting.busy]) this.expireLine(line, now);
  }

  private expireLine(line: Line<C>, now: number): void {
    const most = this.maxWait(line, now);
    for (let waiting = line.oldest; waiting !== undefined; waiting = waiting.newer) {
      const { call, since } = waiting;
      const waited = now - this.waitsFrom(since);
      if (waited <= most) return;
      if (waited <= call.waitMs) continue;
      this.left(call, now);
      this.refuse(call, this.count('queue_wait'));
    }
  }

  /** Milliseconds until `expire` is to be called; undefined when none waits. */
  expiresIn(now: number): number | undefined {
    if (this.waiting.size === 0) return undefined;
    let at = now + WATCH_MS;
    for (const line of this.waiting.busy) {
      at = Math.min(at, this.waitsFrom(line.oldest!.since) + this.maxWait(line, now));
    }
    return Math.max(SOON_MS, at - now);
  }

  /** Somebody can be reached, after a time in which nobody could. */
  reachable(now: number): void {
    this.reachableAt = now;
    for (const line of this.waiting.busy) line.beganAt = Math.max(line.beganAt, now);
  }

  private waitsFrom(since: number): number {
    return Math.max(since, this.reachableAt);
  }

  /** It has less time left than calls lately took; while nothing is in flight, nobody knows. */
  private hopeless(call: C, now: number): boolean {
    return call.deadline !== undefined && call.deadline - now < this.limiter.latency && this.inFlight > 0;
  }

  private maxWait(line: Line<C>, now: number): number {
    if (!this.stands(line, now)) return this.burst;
    const { unloaded, slack } = this.limiter;
    return Math.max(STANDING_WAIT_MS, STANDING_WAIT_SHARE * unloaded, STANDING_SLACK_SHARE * slack);
  }

  /** How long a burst may last. */
  private get burst(): number {
    const { limiter, options } = this;
    if (limiter.unknown) return Infinity;
    const most =
      options.maxWaitMs === 'patience' ? Math.max(BURST_MS, BURST_SHARE * limiter.patience) : options.maxWaitMs;
    return Math.max(most, 2 * limiter.unloaded);
  }

  private stands(line: Line<C>, now: number): boolean {
    if (!line.standing && line.size > 0 && now - line.beganAt > this.burst) line.standing = true;
    return line.standing;
  }

  private count(why: Refusal): Refusal {
    this.refused[why]++;
    return why;
  }
}
