import type { Fields } from '../fields.js';
import { Holding } from '../memory/holding.js';
import {
  copyOf,
  frameMessage,
  MESSAGE_PREFIX_OCTETS,
  MessageError,
  MessageReader,
  type Encoding,
  type MessageSink,
} from '../grpc/message-reader.js';
import { failure, outcomeOfHttpStatus, outcomeOfTrailers } from '../grpc/outcome.js';
import { Status } from '../grpc/status.js';
import { readUint32 } from '../http2/frames.js';
import type { HeaderBlock } from '../http2/header-block.js';
import type { Call, CallEvents, CallOptions, Outcome } from './call.js';
import { ClientCall, type CallOwner } from './client-call.js';

/** A gRPC call: messages instead of bytes, a status instead of trailers. */
export class GrpcCall extends ClientCall implements Call, MessageSink {
  private reader: MessageReader | undefined;
  private encoding: Encoding = 'identity';
  private readonly outgoing: Encoding;
  private readonly maxMessageBytes: number;
  /** The end has arrived while messages before it are still unread. */
  private endDue: Outcome | undefined;
  /** The memory of what the reader has not delivered. */
  private holding: Holding | undefined;

  constructor(
    owner: CallOwner,
    head: Uint8Array,
    metadata: Fields,
    options: CallOptions,
    maxMessageBytes: number,
    onlyMessage: Uint8Array | undefined,
    private readonly events: CallEvents,
  ) {
    const compressed = options.compression === 'gzip';
    super(
      owner,
      head,
      compressed ? [...metadata, ['grpc-encoding', 'gzip']] : metadata,
      options.deadline,
      options.idempotent === true,
      options.unlimited === true,
      options.waitMs ?? 0,
      options.share ?? '',
      onlyMessage,
      options.account,
    );
    this.outgoing = compressed ? 'gzip' : 'identity';
    this.maxMessageBytes = options.maxMessageBytes ?? maxMessageBytes;
  }

  write(message: Uint8Array): boolean {
    if (this.ended) return true;
    return this.send(frameMessage(message, this.outgoing));
  }

  resume(): void {
    if (!this.paused || this.ended) return;
    this.paused = false;
    // Called from within `onMessage`: the reader goes on by itself.
    if (this.reader?.busy === true) return;
    this.read(undefined);
    if (this.stopped) return;
    if (this.endDue !== undefined) this.complete(this.endDue);
    else if (this.holding?.waiting !== true) this.stream?.resume();
  }

  onRoom(): void {
    if (!this.stopped) this.stream?.resume();
  }

  onNoRoom(): void {
    const outcome = failure(Status.UNAVAILABLE, 'no memory for the answer: its client reads slowly, or others hold it');
    this.finish({ ...outcome, overloaded: true, retryAfterMs: RETRY_WITHOUT_ROOM_MS });
  }

  /** No message may be delivered now. */
  get stopped(): boolean {
    return this.paused || this.ended;
  }

  override onHead(block: HeaderBlock, endStream: boolean): void {
    const status = block.pseudo[0]![1];
    const { fields } = block;
    // A peer that is no gRPC server says so by its HTTP status or its content type.
    if (status !== '200') return this.refuse(outcomeOfHttpStatus(Number(status), fields));
    if (!hasGrpcContentType(fields)) {
      return this.refuse({ ...failure(Status.UNKNOWN, 'the response is not application/grpc'), trailers: fields });
    }
    if (endStream) {
      this.endDue = outcomeOfTrailers(fields);
      return;
    }
    const encoding = encodingOf(fields);
    if (encoding === undefined) {
      return this.refuse(failure(Status.INTERNAL, 'the response has a grpc-encoding that was not offered'));
    }
    this.encoding = encoding;
    this.commit();
    this.events.onHeaders(fields);
  }

  override onData(chunk: Buffer): void {
    // Nearly every message arrives whole and alone in its frame.
    if (this.reader === undefined && chunk[0] === 0 && chunk.length >= MESSAGE_PREFIX_OCTETS) {
      const length = readUint32(chunk, 1);
      if (length === chunk.length - MESSAGE_PREFIX_OCTETS && length <= this.maxMessageBytes) {
        this.events.onMessage(copyOf(chunk, MESSAGE_PREFIX_OCTETS, chunk.length));
        return;
      }
    }
    this.read(chunk);
  }

  override onEnd(trailers: HeaderBlock | undefined): void {
    const outcome = this.endDue ?? outcomeOfTrailers(trailers === undefined ? [] : trailers.fields);
    if (this.reader?.hasUnread === true) this.endDue = outcome;
    else this.complete(outcome);
  }

  onWireMessage(message: Buffer): void {
    this.events.onMessage(message);
  }

  private complete(outcome: Outcome): void {
    if (outcome.code === Status.OK && this.reader !== undefined && !this.reader.empty) {
      return this.settle(failure(Status.INTERNAL, 'the response ended inside a message'));
    }
    this.settle(outcome);
  }

  /** Reads messages from a chunk, or from what was left of the last one. */
  private read(chunk: Buffer | undefined): void {
    if (this.reader === undefined) {
      if (chunk === undefined) return;
      this.holding = new Holding(this.account, this);
      this.reader = new MessageReader(this, this.maxMessageBytes, this.holding);
      this.reader.encoding = this.encoding;
    }
    try {
      if (chunk === undefined) this.reader.resume();
      else this.reader.push(chunk);
      if (this.holding !== undefined && this.holding.octets > 0 && !this.holding.hasRoom()) this.stream?.pause();
      else if (chunk !== undefined && !this.stopped) this.stream?.resume();
    } catch (error) {
      if (!(error instanceof MessageError)) throw error;
      this.finish(failure(error.code, error.message));
    }
  }

  private refuse(outcome: Outcome): void {
    this.settle(outcome);
  }

  protected override frame(message: Uint8Array): Uint8Array[] {
    return frameMessage(message, this.outgoing);
  }

  protected override deliverEnd(outcome: Outcome): void {
    this.reader = undefined;
    this.holding?.end();
    this.holding = undefined;
    this.events.onEnd(outcome);
  }

  protected override deliverDrain(): void {
    this.events.onDrain?.();
  }
}

/** When a call is worth another attempt that found no memory. */
const RETRY_WITHOUT_ROOM_MS = 1_000;

function hasGrpcContentType(fields: Fields): boolean {
  for (const [name, value] of fields) if (name === 'content-type') return /^application\/grpc(?:[+;]|$)/.test(value);
  return false;
}

function encodingOf(fields: Fields): Encoding | undefined {
  for (const [name, value] of fields) {
    if (name === 'grpc-encoding') return value === 'identity' || value === 'gzip' ? value : undefined;
  }
  return 'identity';
}
