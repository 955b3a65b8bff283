/**
 * What calls and relayed streams share: one life over several sendings. A call waits for a stream, is sent, may be sent
 * again as long as nothing of the response was handed on, and ends exactly once.
 */
import type { Fields } from '../fields.js';
import { type MemoryAccount, unbounded } from '../memory/account.js';
import { failure, outcomeOfAbort } from '../grpc/outcome.js';
import { Status } from '../grpc/status.js';
import { encodeTimeout } from '../grpc/timeout.js';
import type { HeaderBlock } from '../http2/header-block.js';
import type { Abort, Stream, StreamHandler } from '../http2/stream.js';
import { Timer } from '../timers/wheel.js';
import type { Outcome } from './call.js';
import type { ClientConnection, Opening } from './connection.js';
import type { Endpoint } from './endpoint.js';

/** The channel, as a call sees it. */
export interface CallOwner {
  /** The call left the queue or ended while waiting in it. */
  leaveQueue(call: ClientCall): void;
  /** One sending of a call with a place among those in flight is over, by whatever side ended it. */
  giveBack(call: ClientCall, outcome: Outcome): void;
  /** @returns true when the call will be sent again. */
  retry(call: ClientCall, outcome: Outcome): boolean;
  /** The call was to be sent and was not: it looks for another connection. */
  sendElsewhere(call: ClientCall): void;
}

/** Bytes written are kept up to this many for another sending. */
const REPLAY_OCTETS_MAX = 65_536;

export abstract class ClientCall extends Timer implements StreamHandler, Opening {
  ended = false;
  /** Part of the response was handed on, or the request is no longer kept: the call cannot be sent again. */
  committed = false;
  attempts = 0;
  /** As `Date.now()` counts; undefined: the call may take any time. */
  deadline: number | undefined;
  /** When it was sent, while it has a place among the calls in flight, as `Date.now()` counts; 0: it has none. */
  sentAt = 0;
  arrivedAt = 0;
  cohort = 0;
  beside: { hasBeside: boolean } | undefined;
  /** Where it was sent last. */
  endpoint: Endpoint | undefined;

  protected stream: Stream | undefined;
  protected paused = false;
  private connection: ClientConnection | undefined;
  private receivedBefore = 0;
  private replay: Uint8Array[] | undefined;
  private replayOctets = 0;
  private endWritten = false;
  private drainDue = false;

  constructor(
    protected readonly owner: CallOwner,
    private readonly head: Uint8Array,
    private readonly metadata: Fields,
    deadline: number | undefined,
    readonly idempotent: boolean,
    /** It takes no place among the calls in flight. */
    readonly unlimited: boolean,
    readonly waitMs: number,
    readonly share: string,
    /** The only message, which leaves with the headers. */
    private readonly onlyMessage: Uint8Array | undefined,
    readonly account: MemoryAccount = unbounded,
  ) {
    super();
    this.deadline = deadline === Infinity ? undefined : deadline;
    if (onlyMessage !== undefined) this.endWritten = true;
  }

  protected abstract deliverEnd(outcome: Outcome): void;
  protected abstract deliverDrain(): void;
  /** An only message's bytes with its prefix. */
  protected abstract frame(message: Uint8Array): Uint8Array[];
  abstract onHead(block: HeaderBlock, endStream: boolean): void;
  abstract onData(chunk: Buffer): void;
  abstract onEnd(trailers: HeaderBlock | undefined): void;

  /** Takes a place on the connection; the stream opens at the end of the turn. */
  begin(connection: ClientConnection, endpoint: Endpoint): void {
    this.connection = connection;
    this.endpoint = endpoint;
    connection.openAtEnd(this);
  }

  /** Opens the stream and sends what was written so far. */
  open(): void {
    const connection = this.connection!;
    if (!connection.takes(this.head, this.metadata)) return this.finish(TOO_LARGE);
    const stream = connection.newStream(this);
    stream.account = this.account;
    this.stream = stream;
    this.receivedBefore = connection.received;
    this.attempts++;
    if (this.paused) stream.pause();
    const { deadline } = this;
    const timeout =
      deadline === undefined ? undefined : (['grpc-timeout', encodeTimeout(deadline - Date.now())] as const);
    if (connection.open(stream, this.head, timeout, this.metadata, this.onlyMessage)) return;
    const chunks = this.onlyMessage === undefined ? this.replay : this.frame(this.onlyMessage);
    let room = true;
    if (chunks !== undefined) for (const chunk of chunks) room = stream.write(chunk);
    if (this.endWritten) stream.end();
    if (this.replayOctets > REPLAY_OCTETS_MAX) this.commit();
    if (room) this.onDrain();
  }

  unsent(): void {
    this.connection = undefined;
    this.owner.sendElsewhere(this);
  }

  end(): void {
    if (this.ended || this.endWritten) return;
    this.endWritten = true;
    this.stream?.end();
  }

  pause(): void {
    this.paused = true;
    this.stream?.pause();
  }

  cancel(code: number = Status.CANCELLED, reason = 'the caller cancelled the call'): void {
    this.finish(failure(code, reason));
  }

  /** Sends bytes, and keeps them while the call may be sent again. */
  protected send(chunks: readonly Uint8Array[]): boolean {
    if (this.ended || this.endWritten) return true;
    const { stream } = this;
    if (!this.committed) {
      const replay = (this.replay ??= []);
      for (const chunk of chunks) {
        replay.push(chunk);
        this.replayOctets += chunk.length;
        this.account.hold(chunk.length);
      }
      if (stream === undefined) {
        if (this.replayOctets <= REPLAY_OCTETS_MAX) return true;
        this.drainDue = true;
        return false;
      }
      if (this.replayOctets > REPLAY_OCTETS_MAX) this.commit();
    }
    let more = true;
    for (const chunk of chunks) more = stream!.write(chunk);
    if (!more) this.drainDue = true;
    return more;
  }

  setDeadline(deadline: number): void {
    if (this.ended) return;
    this.deadline = deadline === Infinity ? undefined : deadline;
    if (this.deadline === undefined) this.clearTimer();
    else this.setTimer(deadline - Date.now());
  }

  protected commit(): void {
    this.committed = true;
    this.dropReplay();
  }

  private dropReplay(): void {
    if (this.replay === undefined) return;
    this.replay = undefined;
    this.account.release(this.replayOctets);
    this.replayOctets = 0;
  }

  onDrain(): void {
    if (!this.drainDue || this.ended) return;
    this.drainDue = false;
    this.deliverDrain();
  }

  onAbort(abort: Abort): void {
    this.stream = undefined;
    this.settle(outcomeOfAbort(abort));
  }

  /** The deadline has passed. */
  override onTimeout(): void {
    const { connection, stream, receivedBefore } = this;
    if (stream !== undefined && connection !== undefined && connection.received === receivedBefore) {
      connection.suspect();
      this.endpoint?.failed();
    }
    this.finish(
      failure(Status.DEADLINE_EXCEEDED, 'the deadline has passed', stream === undefined && this.attempts === 0),
      true,
    );
  }

  /** One sending has ended: again, or for good. */
  protected settle(outcome: Outcome): void {
    if (this.ended) return;
    this.report(outcome);
    if (this.sentAt !== 0) this.owner.giveBack(this, outcome);
    if (!this.committed && this.owner.retry(this, outcome)) {
      const { stream, connection } = this;
      this.stream = this.connection = undefined;
      // Answered before the request was complete.
      if (stream !== undefined) connection!.release(stream, false);
      return;
    }
    this.finish(outcome);
  }

  /** Ends the call; nobody waits for what is left of its stream. `expired`: because its deadline has passed. */
  finish(outcome: Outcome, expired = false): void {
    if (this.ended) return;
    this.ended = true;
    this.clearTimer();
    const { stream, connection } = this;
    this.stream = this.connection = undefined;
    if (stream === undefined) this.owner.leaveQueue(this);
    else connection!.release(stream, expired);
    if (this.sentAt !== 0) this.owner.giveBack(this, outcome);
    this.dropReplay();
    this.deliverEnd(outcome);
  }

  /** As `finish`, but after the function that is running has returned. */
  finishLater(outcome: Outcome): void {
    process.nextTick(finishNow, this, outcome);
  }

  private report(outcome: Outcome): void {
    const { endpoint } = this;
    if (endpoint === undefined) return;
    if (outcome.code === Status.UNAVAILABLE && outcome.overloaded !== true) endpoint.failed();
    else endpoint.succeeded();
  }
}

const TOO_LARGE = failure(Status.INVALID_ARGUMENT, 'the metadata are larger than the upstream takes', true);

function finishNow(call: ClientCall, outcome: Outcome): void {
  call.finish(outcome);
}
