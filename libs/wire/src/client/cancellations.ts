/**
 * How the streams of a connection end that nobody waits for any more.
 *
 * A server takes a client that resets many streams for an attacker (CVE-2023-44487) and ends the connection, with all calls on
 * it; but one gateway carries the cancels of all its clients. So each connection sends few RST_STREAM, and stays below what any
 * server takes amiss: further streams are abandoned. What arrives on them is dropped, and RST_STREAM follows when another is
 * allowed, unless the server has ended the stream meanwhile, or the connection has closed, which cancels them all.
 *
 * A call whose deadline has passed is mostly ended by its server, which knows the deadline by `grpc-timeout`: RST_STREAM is
 * sent only if it has not done so a little later.
 */
import { ErrorCode } from '../http2/errors.js';
import type { Stream } from '../http2/stream.js';
import { mayReceive } from '../http2/stream-state.js';
import { Alarm } from '../timers/wheel.js';

/** How many more RST_STREAM are allowed in time: 45 in the 30 s in which Netty counts. */
const RESETS_PER_SECOND = 1.5;
/** The share of the resets after which another connection should take over, so that it is there before they are spent. */
const WORN_SHARE = 2 / 3;
/** How long a server may take to end a call after its deadline. */
const EXPIRED_GRACE_MS = 250;
const PATROL_MS = 100;

interface Abandoned {
  readonly stream: Stream;
  /** When it is to be reset, as `Date.now()` counts. */
  readonly dueAt: number;
}

export class Cancellations {
  /** Streams that nobody waits for, and which are still open. */
  abandoned = 0;
  /** The connection has once sent most of the resets it may; a fresh one takes over. */
  worn = false;
  private resetsLeft: number;
  private countedAt = Date.now();
  private waiting: Abandoned[] = [];
  private readonly patrolAlarm = new Alarm(() => this.patrol());

  constructor(
    private readonly resetsMax: number,
    private readonly onWorn: () => void,
  ) {
    this.resetsLeft = resetsMax;
  }

  /** Ends an open stream, now or later. `expired`: its deadline has passed. */
  cancel(stream: Stream, expired: boolean): void {
    // The peer has said everything: END_STREAM ends our side as well, and nobody counts that.
    if (!mayReceive(stream.state)) return this.abandon(stream);
    const now = Date.now();
    if (!expired && this.mayReset(now)) stream.reset(ErrorCode.CANCEL);
    else {
      this.abandon(stream);
      this.waiting.push({ stream, dueAt: expired ? now + EXPIRED_GRACE_MS : now });
      if (this.waiting.length === 1) this.patrolAlarm.setTimer(PATROL_MS);
    }
    if (this.worn) this.onWorn();
  }

  private abandon(stream: Stream): void {
    this.abandoned++;
    stream.abandon();
  }

  /** An abandoned stream has ended. */
  ended(): void {
    this.abandoned--;
  }

  /** The connection is over. */
  stop(): void {
    this.patrolAlarm.clearTimer();
    this.waiting = [];
  }

  private mayReset(now: number): boolean {
    this.resetsLeft = Math.min(this.resetsMax, this.resetsLeft + ((now - this.countedAt) / 1000) * RESETS_PER_SECOND);
    this.countedAt = now;
    if (this.resetsLeft < 1) return false;
    this.resetsLeft--;
    if (this.resetsLeft <= this.resetsMax * (1 - WORN_SHARE)) this.worn = true;
    return true;
  }

  private patrol(): void {
    const now = Date.now();
    const waiting = this.waiting.filter(({ stream }) => !stream.closed);
    this.waiting = waiting.filter(({ stream, dueAt }) => {
      if (dueAt > now || !this.mayReset(now)) return true;
      stream.reset(ErrorCode.CANCEL);
      return false;
    });
    if (this.waiting.length > 0) this.patrolAlarm.setTimer(PATROL_MS);
    if (this.worn) this.onWorn();
  }
}
