/** The server's side of a gRPC call over an HTTP/2 stream (gRPC over HTTP/2, "Requests" and "Responses"). */
import type { Field, Fields } from '../fields.js';
import {
  copyOf,
  frameMessage,
  MESSAGE_PREFIX_OCTETS,
  MessageError,
  MessageReader,
  writeMessagePrefix,
  type Encoding,
  type MessageSink,
} from '../grpc/message-reader.js';
import { encodeMessage } from '../grpc/outcome.js';
import { Status } from '../grpc/status.js';
import { parseTimeout } from '../grpc/timeout.js';
import { readUint32 } from '../http2/frames.js';
import { Timer } from '../timers/wheel.js';
import { FixedFields } from '../fixed-fields.js';
import type { RequestEvents, ServerStream } from './server-stream.js';

/** Takes what happens on a call: a plain object or class instance. */
export interface GrpcServerEvents {
  /** One decompressed message. Never called between `pause()` and `resume()`. */
  onMessage(message: Buffer): void;
  /** The client has sent its last message. */
  onHalfClose(): void;
  /** The client left, the deadline passed, or the request broke a rule. At most once, and never after the status was sent. */
  onCancel(reason: string): void;
  /** After `sendMessage()` returned false: what was queued has been sent. */
  onDrain?(): void;
}

export interface GrpcServerOptions {
  /** Largest message accepted, in bytes after decompression. */
  readonly maxMessageBytes: number;
  /** Compress messages for clients that accept it. */
  readonly compression?: 'gzip' | undefined;
}

const COMMON = new FixedFields([
  ['content-type', 'application/grpc'],
  ['grpc-accept-encoding', 'identity,gzip'],
]);
/** Written anew for every message. */
const prefix = new Uint8Array(MESSAGE_PREFIX_OCTETS);
const OK_TRAILERS: Fields = [['grpc-status', '0']];

export class GrpcServerCall extends Timer implements RequestEvents, MessageSink {
  /** Set by the handler before it returns. */
  events: GrpcServerEvents = IGNORE;
  /** When the client stops waiting, as `Date.now()` counts; Infinity without a deadline. */
  readonly deadline: number;
  private reader: MessageReader | undefined;
  private readonly incoming: Encoding;
  private readonly outgoing: Encoding;
  private paused = false;
  private over = false;
  private halfCloseDue = false;

  private constructor(
    readonly stream: ServerStream,
    private readonly options: GrpcServerOptions,
    timeoutMs: number | undefined,
    incoming: Encoding,
    clientAcceptsGzip: boolean,
  ) {
    super();
    this.incoming = incoming;
    this.outgoing = options.compression === 'gzip' && clientAcceptsGzip ? 'gzip' : 'identity';
    this.deadline = timeoutMs === undefined ? Infinity : Date.now() + timeoutMs;
    if (timeoutMs !== undefined) this.setTimer(timeoutMs);
    stream.events = this;
    stream.liftBodyTimeout();
  }

  /** Makes a call of a request, or answers it as gRPC says when it is none and returns undefined. */
  static accept(stream: ServerStream, options: GrpcServerOptions): GrpcServerCall | undefined {
    let contentType = '';
    let timeout: string | undefined;
    let encoding = 'identity';
    let accepted = '';
    for (const [name, value] of stream.fields) {
      if (name === 'content-type') contentType = value;
      else if (name === 'grpc-timeout') timeout = value;
      else if (name === 'grpc-encoding') encoding = value;
      else if (name === 'grpc-accept-encoding') accepted = value;
    }
    if (stream.method !== 'POST') return refuse(stream, 405, [['allow', 'POST']]);
    if (!/^application\/grpc(?:[+;]|$)/.test(contentType)) return refuse(stream, 415, []);
    const timeoutMs = timeout === undefined ? undefined : parseTimeout(timeout);
    if (timeout !== undefined && timeoutMs === undefined) {
      return refuseCall(stream, Status.INTERNAL, 'grpc-timeout is not a timeout');
    }
    if (encoding !== 'identity' && encoding !== 'gzip') {
      return refuseCall(stream, Status.UNIMPLEMENTED, `grpc-encoding ${encoding} is not supported`);
    }
    return new GrpcServerCall(stream, options, timeoutMs, encoding, /(?:^|,)\s*gzip\s*(?:,|$)/.test(accepted));
  }

  get path(): string {
    return this.stream.path;
  }

  get fields(): Fields {
    return this.stream.fields;
  }

  /** A status was sent, or nobody waits for one. */
  get ended(): boolean {
    return this.over;
  }

  /** Sends initial metadata, unless it was sent already. @throws TypeError for metadata that must not travel. */
  sendHeaders(metadata: Fields): void {
    if (this.over || this.stream.responded) return;
    const fields: Fields = this.outgoing === 'gzip' ? [['grpc-encoding', 'gzip'], ...metadata] : metadata;
    this.stream.respond(200, fields, false, COMMON);
  }

  /** Sends a message. False: queued; wait for `onDrain`. */
  sendMessage(message: Uint8Array): boolean {
    if (this.over) return true;
    this.sendHeaders([]);
    if (this.outgoing === 'identity') {
      writeMessagePrefix(prefix, 0, message.length, false);
      return this.stream.writePrefixed(prefix, message);
    }
    let more = true;
    for (const chunk of frameMessage(message, this.outgoing)) more = this.stream.write(chunk);
    return more;
  }

  /** Ends the call with a status. @throws TypeError for metadata that must not travel. */
  sendStatus(code: number, message = '', metadata: Fields = [], details?: Uint8Array): void {
    if (this.over) return;
    const trailers: Field[] = [['grpc-status', String(code)]];
    if (message !== '') trailers.push(['grpc-message', encodeMessage(message)]);
    if (details !== undefined) trailers.push(['grpc-status-details-bin', Buffer.from(details).toString('base64')]);
    const fields =
      trailers.length === 1 && metadata.length === 0 && code === Status.OK ? OK_TRAILERS : [...trailers, ...metadata];
    if (this.stream.responded) this.stream.trailers(fields);
    else this.stream.respond(200, fields, true, COMMON);
    this.finish();
  }

  /** Stops `onMessage`; the client is stopped by flow control once its window is used up. */
  pause(): void {
    this.paused = true;
    this.stream.pause();
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    // Called from within `onMessage`: the reader goes on by itself.
    if (this.reader?.busy === true) return;
    this.read(undefined);
    if (this.stopped) return;
    if (this.halfCloseDue) {
      this.halfCloseDue = false;
      this.events.onHalfClose();
    }
    this.stream.resume();
  }

  get stopped(): boolean {
    return this.paused || this.over;
  }

  onData(chunk: Buffer): void {
    if (this.over) return;
    // Nearly every message arrives whole and alone in its frame.
    if (this.reader === undefined && chunk[0] === 0 && chunk.length >= MESSAGE_PREFIX_OCTETS) {
      const length = readUint32(chunk, 1);
      if (length === chunk.length - MESSAGE_PREFIX_OCTETS && length <= this.options.maxMessageBytes) {
        return this.events.onMessage(copyOf(chunk, MESSAGE_PREFIX_OCTETS, chunk.length));
      }
    }
    this.read(chunk);
  }

  onEnd(): void {
    if (this.over) return;
    if (this.reader?.hasUnread === true) this.halfCloseDue = true;
    else if (this.reader !== undefined && !this.reader.empty)
      this.refuse(Status.INTERNAL, 'the request ended inside a message');
    else this.events.onHalfClose();
  }

  onReset(reason: string): void {
    this.cancelled(reason);
  }

  onDrain(): void {
    if (!this.over) this.events.onDrain?.();
  }

  onWireMessage(message: Buffer): void {
    this.events.onMessage(message);
  }

  override onTimeout(): void {
    this.refuse(Status.DEADLINE_EXCEEDED, 'the deadline has passed');
  }

  /** Ends the call by a status of our own; the handler hears that it is over. */
  private refuse(code: number, message: string): void {
    const { events } = this;
    this.sendStatus(code, message);
    events.onCancel(message);
  }

  private cancelled(reason: string): void {
    if (this.over) return;
    const { events } = this;
    this.finish();
    events.onCancel(reason);
  }

  private finish(): void {
    this.over = true;
    this.reader = undefined;
    this.clearTimer();
  }

  private read(chunk: Buffer | undefined): void {
    if (this.reader === undefined) {
      if (chunk === undefined) return;
      this.reader = new MessageReader(this, this.options.maxMessageBytes);
      this.reader.encoding = this.incoming;
    }
    try {
      if (chunk === undefined) this.reader.resume();
      else this.reader.push(chunk);
      if (chunk !== undefined && !this.stopped) this.stream.resume();
    } catch (error) {
      if (!(error instanceof MessageError)) throw error;
      this.refuse(error.code, error.message);
    }
  }
}

const IGNORE: GrpcServerEvents = { onMessage() {}, onHalfClose() {}, onCancel() {} };

function refuse(stream: ServerStream, status: number, fields: Fields): undefined {
  stream.respond(status, fields, true);
}

function refuseCall(stream: ServerStream, code: number, message: string): undefined {
  stream.respond(
    200,
    [
      ['grpc-status', String(code)],
      ['grpc-message', encodeMessage(message)],
    ],
    true,
    COMMON,
  );
}
