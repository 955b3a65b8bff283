import { ErrorCode } from './errors.js';
import type { HeaderBlock } from './header-block.js';
import type { MemoryAccount } from '../memory/account.js';
import { ReceiveWindow, SendWindow } from './flow-control.js';
import { Pieces } from './pieces.js';
import type { Session } from './session.js';
import { SendQueue } from './send-queue.js';
import { afterEndReceived, afterEndSent, maySend, mayReceive, StreamState } from './stream-state.js';
import type { Fields } from '../fields.js';

/** Why a stream ended before both sides had finished. */
export interface Abort {
  /** An error code of RFC 9113 §7. */
  readonly code: number;
  readonly message: string;
  /** The peer sent RST_STREAM. */
  readonly byPeer: boolean;
  /** The connection was lost. With neither, we reset the stream ourselves. */
  readonly lost: boolean;
  /** The peer certainly did not process the stream (RFC 9113 §8.7). */
  readonly unprocessed: boolean;
}

/** Takes what happens on a stream. After `onEnd` nothing more is received; after `onAbort` the stream is gone. */
export interface StreamHandler {
  /** The header section that opens the message: a request's, or a final response's. */
  onHead(block: HeaderBlock, endStream: boolean): void;
  /** Body octets, which are the callee's until it returns; what it keeps of them it copies. */
  onData(chunk: Buffer): void;
  /** The peer has finished, with trailers or without. Comes after all data, so not while the stream is paused. */
  onEnd(trailers: HeaderBlock | undefined): void;
  onAbort(abort: Abort): void;
  /** What `write` could not send at once has been sent. */
  onDrain(): void;
}

/** Octets queued on a stream from which on `write` asks to wait. */
const QUEUE_OCTETS = 65_536;

/** Octets of a message's rest that are read although nobody wants them, less than a window; a longer rest is asked to stop. */
const REST_OCTETS = 49_152;

/** What came of trying to send from a stream's queue. */
export const Sent = { MORE: 0, EMPTY: 1, STREAM_BLOCKED: 2, CONNECTION_BLOCKED: 3 } as const;

/** One HTTP/2 stream, for either role: its state, its two windows, what waits to be sent and what waits to be read. */
export class Stream {
  state: number = StreamState.OPEN;
  /** The message's opening header section has arrived. */
  headReceived = false;
  /** Octets of body still expected by `content-length`; -1 when it was not given. */
  bodyExpected = -1;
  handler: StreamHandler;
  readonly sendWindow: SendWindow;
  readonly receiveWindow: ReceiveWindow;
  /** The stream is in the connection's list of writers. */
  scheduled = false;
  /** Counts what waits here, in either direction. */
  account: MemoryAccount;
  /** Octets of DATA that have left. */
  sentOctets = 0;

  private queue: SendQueue | undefined;
  private endQueued = false;
  private trailersQueued: Fields | undefined;
  private drainDue = false;
  private stalledAt = 0;
  private stalledSince = 0;
  /** Since when something has waited without a break, and what had left of the stream and of the connection then; 0: nothing waits. */
  private slowSince = 0;
  private slowFrom = 0;
  private slowFromConnection = 0;

  private paused = false;
  private delivering = false;
  private held: Pieces | undefined;
  private endHeld = false;
  /** What still arrives is dropped: so many octets of it before the stream is reset. */
  private restAllowed: number | undefined;
  private trailersHeld: HeaderBlock | undefined;

  constructor(
    readonly id: number,
    readonly session: Session,
    handler: StreamHandler | undefined,
    sendWindow: number,
    receiveWindow: number,
  ) {
    // A server sets it when it has made its view of the request, which needs the stream.
    this.handler = handler!;
    this.account = session.account;
    this.sendWindow = new SendWindow(sendWindow);
    this.receiveWindow = new ReceiveWindow(receiveWindow);
  }

  get closed(): boolean {
    return this.state === StreamState.CLOSED;
  }

  /** Octets waiting to be sent. */
  get queuedOctets(): number {
    return this.queue === undefined ? 0 : this.queue.octets;
  }

  /** Sends DATA, of which a copy is kept as long as it waits. False: wait for `onDrain`. Ignored once the stream cannot send. */
  write(bytes: Uint8Array): boolean {
    if (!maySend(this.state) || this.endQueued || bytes.length === 0) return true;
    if (this.queue === undefined && this.session.maySendNow(this, bytes.length)) {
      this.session.sendData(this, bytes, 0, bytes.length, false);
      return true;
    }
    (this.queue ??= new SendQueue(this.account)).push(bytes);
    return this.sendQueued();
  }

  /** As `write`, of two pieces; the first is short and is copied. */
  writePrefixed(prefix: Uint8Array, bytes: Uint8Array): boolean {
    if (this.writeNow(prefix, bytes, false) || !maySend(this.state) || this.endQueued) return true;
    const queue = (this.queue ??= new SendQueue(this.account));
    queue.push(prefix);
    if (bytes.length > 0) queue.push(bytes);
    return this.sendQueued();
  }

  private sendQueued(): boolean {
    this.session.schedule(this);
    this.session.pump();
    const { queuedOctets } = this;
    if (queuedOctets === 0 || (queuedOctets < QUEUE_OCTETS && this.account.hasRoom)) return true;
    this.drainDue = true;
    return false;
  }

  /**
   * Sends a prefix and the bytes after it in one frame, and END_STREAM with it, if all of it can leave now.
   * @returns false when nothing was done.
   */
  writeNow(prefix: Uint8Array, bytes: Uint8Array, end: boolean): boolean {
    if (!maySend(this.state) || this.endQueued || this.queue !== undefined) return false;
    const octets = prefix.length + bytes.length;
    if (bytes.length > this.session.outbox.joinOctets || !this.session.maySendNow(this, octets)) return false;
    this.session.sendJoined(this, prefix, bytes, end);
    if (end) this.sentEnd();
    return true;
  }

  /** Sends a header section that is not trailers. */
  sendHead(head: Uint8Array, fields: Fields, end: boolean, more?: Fields, length = -1): void {
    if (!maySend(this.state)) return;
    this.session.sendFields(this.id, head, fields, end, undefined, more, length);
    if (end) this.sentEnd();
  }

  /** Data has been waiting to be sent for `ms` without any of it leaving. */
  stalled(now: number, ms: number): boolean {
    const { queuedOctets } = this;
    if (queuedOctets === 0 || queuedOctets !== this.stalledAt) {
      this.stalledAt = queuedOctets;
      this.stalledSince = now;
      return false;
    }
    return now - this.stalledSince >= ms;
  }

  /**
   * Over `ms` in which something always waited, less than `octets` have left. A stream whose own window is used up is judged by itself, since the client
   * chose to hold it back; another shares a slow path with the rest of the connection, and is judged by what all of that took.
   */
  slow(now: number, ms: number, octets: number): boolean {
    if (this.queue === undefined) return false;
    if (this.slowSince > 0 && now - this.slowSince < ms) return false;
    const own = this.sentOctets - this.slowFrom;
    const all = this.session.sentOctets - this.slowFromConnection;
    const judged = this.slowSince > 0;
    this.slowSince = now;
    this.slowFrom = this.sentOctets;
    this.slowFromConnection = this.session.sentOctets;
    return judged && (this.sendWindow.available <= 0 ? own : all) < octets;
  }

  /** Ends our side, with END_STREAM on the last DATA frame. */
  end(): void {
    if (!maySend(this.state) || this.endQueued) return;
    this.endQueued = true;
    if (this.queue === undefined) this.endEmpty();
  }

  private endEmpty(): void {
    this.session.sendData(this, NOTHING, 0, 0, true);
    this.sentEnd();
  }

  /** Ends our side with trailers, after what is queued. */
  endWithTrailers(trailers: Fields): void {
    if (!maySend(this.state) || this.endQueued) return;
    this.endQueued = true;
    this.trailersQueued = trailers;
    if (this.queue === undefined) this.sendTrailers();
  }

  /** Sends RST_STREAM and forgets the stream; the handler hears nothing more. */
  reset(code: number): void {
    if (!this.closed) this.session.sendReset(this.id, code);
    else if (!this.endHeld && this.held === undefined) return;
    this.discard();
  }

  /** Stops `onData`; the peer's window is not refilled. */
  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    // Called from within `onData`: the loop below goes on by itself.
    if (this.delivering) return;
    this.delivering = true;
    while (this.held !== undefined && !this.paused) {
      const chunk = this.held.shift();
      this.account.release(chunk.length);
      if (this.held.octets === 0) this.held = undefined;
      this.deliver(chunk);
    }
    this.delivering = false;
    if (this.endHeld && !this.paused) {
      this.endHeld = false;
      this.handler.onEnd(this.trailersHeld);
    }
  }

  /**
   * §8.1: the answer is complete before the request. Its rest is dropped, though still checked; the handler hears nothing
   * more. A long rest is stopped by RST_STREAM(NO_ERROR): a short one has mostly been sent already.
   */
  dropRest(): void {
    this.restAllowed = REST_OCTETS;
    this.endHeld = false;
    this.dropHeld();
  }

  /**
   * Nobody reads or writes any more, though the peer is not told: what arrives is dropped, and the window not refilled, until
   * either side ends the stream. If the peer has ended it already, so do we.
   */
  abandon(): void {
    this.handler = NOBODY;
    this.dropQueue();
    this.dropRest();
    this.restAllowed = Infinity;
    if (!mayReceive(this.state)) this.endEmpty();
  }

  get abandoned(): boolean {
    return this.restAllowed === Infinity;
  }

  /** DATA has arrived and was counted. */
  receive(chunk: Buffer): void {
    if (this.restAllowed !== undefined) {
      this.session.consumedLast(chunk.length);
      this.restAllowed -= chunk.length;
      if (this.restAllowed < 0) this.reset(ErrorCode.NO_ERROR);
      return;
    }
    if (!this.paused && this.held === undefined) {
      this.deliver(chunk);
      return;
    }
    (this.held ??= new Pieces()).push(chunk);
    this.account.hold(chunk.length);
  }

  /** END_STREAM has arrived. */
  receiveEnd(trailers: HeaderBlock | undefined): void {
    this.state = afterEndReceived(this.state);
    if (this.closed) this.session.forget(this);
    if (this.restAllowed !== undefined) {
      if (maySend(this.state)) this.endEmpty();
      return;
    }
    if (this.paused || this.held !== undefined) {
      this.endHeld = true;
      this.trailersHeld = trailers;
    } else this.handler.onEnd(trailers);
  }

  /** The stream is over before its time; the handler hears of it, unless it has everything already. */
  abort(abort: Abort): void {
    const finished = (this.closed && !this.endHeld) || this.restAllowed !== undefined;
    this.discard();
    if (!finished) this.handler.onAbort(abort);
  }

  /** Sends one frame from the queue. */
  sendSome(): number {
    const { queue } = this;
    if (queue !== undefined) {
      const head = queue.head();
      const octets = this.session.sendable(this, head.length);
      if (octets <= 0) return this.sendWindow.available <= 0 ? Sent.STREAM_BLOCKED : Sent.CONNECTION_BLOCKED;
      const empty = queue.octets === octets;
      if (empty) {
        this.queue = undefined;
        this.slowSince = 0;
      }
      const last = empty && this.endQueued && this.trailersQueued === undefined;
      this.session.sendData(this, head, 0, octets, last);
      queue.sent(octets);
      if (!empty) return Sent.MORE;
      if (last) this.sentEnd();
    }
    if (this.trailersQueued !== undefined) this.sendTrailers();
    if (this.drainDue) {
      this.drainDue = false;
      this.handler.onDrain();
    }
    // The handler may have written more.
    return this.queue === undefined ? Sent.EMPTY : Sent.MORE;
  }

  private sendTrailers(): void {
    const trailers = this.trailersQueued!;
    this.trailersQueued = undefined;
    this.session.sendFields(this.id, undefined, trailers, true);
    this.sentEnd();
  }

  /** END_STREAM has left. */
  sentEnd(): void {
    this.endQueued = true;
    this.state = afterEndSent(this.state);
    this.session.onEndSent(this);
    if (this.closed) this.session.forget(this);
  }

  private deliver(chunk: Buffer): void {
    this.handler.onData(chunk);
    if (mayReceive(this.state)) this.session.consumed(this, chunk.length);
    else this.session.consumedLast(chunk.length);
  }

  private discard(): void {
    this.state = StreamState.CLOSED;
    this.dropQueue();
    this.dropHeld();
    this.endHeld = false;
    this.session.forget(this);
  }

  private dropQueue(): void {
    this.queue?.drop();
    this.queue = undefined;
    this.trailersQueued = undefined;
    this.drainDue = false;
    this.endQueued = true;
  }

  private dropHeld(): void {
    if (this.held === undefined) return;
    this.session.consumedLast(this.held.octets);
    this.account.release(this.held.octets);
    this.held = undefined;
  }
}

const NOTHING = new Uint8Array(0);
const NOBODY: StreamHandler = { onHead() {}, onData() {}, onEnd() {}, onAbort() {}, onDrain() {} };
