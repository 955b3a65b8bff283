import type { Socket } from 'node:net';
import type { Fields, FieldSection } from '../fields.js';
import type { ConnectionPeer } from '../sockets/peer.js';
import { NO_FIXED_FIELDS } from '../fixed-fields.js';
import { isFieldValue, isSendableName } from '../http2/field-rules.js';
import type { HeaderBlock } from '../http2/header-block.js';
import { ErrorCode, errorCodeName } from '../http2/errors.js';
import { maySend } from '../http2/stream-state.js';
import type { Abort, Stream, StreamHandler } from '../http2/stream.js';
import type { RequestLine } from './request-rules.js';

/** Takes what happens on a request after its headers: a plain object or class instance. */
export interface RequestEvents {
  /** Body octets, which are the callee's until it returns; what it keeps of them it copies. Never called between `pause()` and `resume()`. */
  onData(chunk: Buffer): void;
  /** The request is complete. */
  onEnd(trailers: Fields | undefined): void;
  /** The exchange is over before its time: the client reset the stream or left, or a bound of ours was hit. At most once. */
  onReset(reason: string): void;
  /** After `write()` returned false: what was queued has been sent. */
  onDrain?(): void;
}

/** One request and its response. */
export class ServerStream implements StreamHandler, RequestLine {
  readonly method: string;
  readonly scheme: string;
  readonly path: string;
  readonly authority: string;
  /** The regular fields as they arrived, in order; several `cookie` fields are still several (`joinCookies`). */
  readonly fields: Fields;
  readonly section: FieldSection;
  /** To be set by the handler before it returns. */
  events: RequestEvents = IGNORE;
  /** When the body must be complete, as `Date.now()` counts; 0: no bound. */
  bodyDeadline: number;
  private headSent = false;
  private over = false;

  constructor(
    private readonly stream: Stream,
    line: RequestLine,
    block: HeaderBlock,
    /** The request ended with its headers: there is no body. */
    readonly endStream: boolean,
    readonly peer: ConnectionPeer,
    readonly socket: Socket,
    bodyTimeoutMs: number,
  ) {
    this.method = line.method;
    this.scheme = line.scheme;
    this.path = line.path;
    this.authority = line.authority;
    this.fields = block.fields;
    this.section = block.section;
    this.bodyDeadline = endStream ? 0 : Date.now() + bodyTimeoutMs;
  }

  get id(): number {
    return this.stream.id;
  }

  /** A response has begun. */
  get responded(): boolean {
    return this.headSent;
  }

  /** Nothing more can be sent: the response is complete, or the stream is gone. */
  get finished(): boolean {
    return this.over || !maySend(this.stream.state);
  }

  /**
   * Sends the response's header section. A status below 200 is an interim response; others follow. `fixed` stands before
   * the fields. Ignored once the stream is gone.
   * @param vouched more fields, which the caller knows to be legal
   * @param length what `content-length` says; -1: the field is left out
   * @throws TypeError for fields that must not travel in HTTP/2, or for a second final response.
   */
  respond(
    status: number,
    fields: Fields,
    end = false,
    fixed = NO_FIXED_FIELDS,
    vouched: Fields = NO_FIELDS,
    length = -1,
  ): void {
    if (this.headSent) throw new TypeError('wire: the response has begun already');
    if (fields.length > 0) requireLegal(fields);
    if (this.stream.closed) return;
    this.headSent = status >= 200;
    this.stream.sendHead(fixed.http2Head(status), fields, end, vouched, length);
  }

  /** Sends body octets. False: queued; wait for `onDrain`. */
  write(bytes: Uint8Array): boolean {
    this.requireHead();
    if (this.finished) return true;
    return this.stream.write(bytes);
  }

  /** As `write`, of two pieces; the first is copied. */
  writePrefixed(prefix: Uint8Array, bytes: Uint8Array): boolean {
    this.requireHead();
    return this.finished || this.stream.writePrefixed(prefix, bytes);
  }

  /** Sends the whole of a response, with its length. @throws TypeError as `respond` does */
  respondWith(
    status: number,
    fields: Fields,
    body: Uint8Array,
    fixed = NO_FIXED_FIELDS,
    vouched: Fields = NO_FIELDS,
  ): void {
    this.respond(status, fields, false, fixed, vouched, body.byteLength);
    if (this.finished || this.stream.writeNow(NOTHING, body, true)) return;
    this.stream.write(body);
    this.stream.end();
  }

  /** Completes the response. */
  end(): void {
    this.requireHead();
    if (!this.finished) this.stream.end();
  }

  /** Completes the response with trailers. @throws TypeError for fields that must not travel in HTTP/2. */
  trailers(fields: Fields): void {
    requireLegal(fields);
    this.requireHead();
    if (!this.finished) this.stream.endWithTrailers(fields);
  }

  private requireHead(): void {
    if (!this.headSent && !this.finished) throw new TypeError('wire: the response has not begun');
  }

  /** Ends the stream now, with RST_STREAM; `onReset` is not called. */
  reset(code: number = ErrorCode.CANCEL): void {
    this.over = true;
    this.stream.reset(code);
  }

  /** The request may take as long as it likes: a streaming call. */
  liftBodyTimeout(): void {
    this.bodyDeadline = 0;
  }

  pause(): void {
    this.stream.pause();
  }

  resume(): void {
    this.stream.resume();
  }

  onHead(): void {}

  onData(chunk: Buffer): void {
    this.events.onData(chunk);
  }

  onEnd(trailers: HeaderBlock | undefined): void {
    this.bodyDeadline = 0;
    this.events.onEnd(trailers?.fields);
  }

  onAbort(abort: Abort): void {
    this.over = true;
    this.events.onReset(abort.byPeer ? `the client reset the stream: ${errorCodeName(abort.code)}` : abort.message);
  }

  onDrain(): void {
    this.events.onDrain?.();
  }
}

const NO_FIELDS: Fields = [];
const NOTHING = new Uint8Array(0);
const IGNORE: RequestEvents = { onData() {}, onEnd() {}, onReset() {} };

function requireLegal(fields: Fields): void {
  // By index: this is done for every response, and taking pairs apart costs more than looking at them.
  for (let index = 0; index < fields.length; index++) {
    const field = fields[index]!;
    const name = field[0];
    if (!isSendableName(name)) throw new TypeError(`wire: ${JSON.stringify(name)} cannot be sent in HTTP/2`);
    if (!isFieldValue(field[1])) throw new TypeError(`wire: the value of ${name} cannot be sent`);
  }
}
