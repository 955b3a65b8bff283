import type { Fields, FieldSection } from '../fields.js';
import { NO_FIXED_FIELDS } from '../fixed-fields.js';
import type { ConnectionPeer } from '../sockets/peer.js';
import { BodyDecoder } from './body-decoder.js';
import type { Http1Connection } from './connection.js';
import type { HeadFields, RequestHead } from './head-reader.js';
import { After, fieldLines } from './response-head.js';

/** Takes the body of a request. */
export interface Http1BodySink {
  /** The octets are the callee's until it returns; what it keeps of them it copies. */
  onData(chunk: Buffer): void;
  onEnd(): void;
}

/** What is told while a response is made and sent. */
export interface Http1RequestEvents {
  /** After `write` returned false: writing may continue. */
  onDrain(): void;
  /** The client left, or broke off, before the response had ended. At most once. */
  onGone(): void;
}

/** So much of a body is passed over after a response that was made without it; a new connection would cost both sides more. */
const REST_OCTETS_MAX = 65_536;

/** How far the response is. */
const Response = { NONE: 0, BEGUN: 1, ENDED: 2 } as const;

/** One request and its response on a connection. A response is `respond` alone, or `begin`, any number of `write`, then `end` or `reset`. */
export class Http1Request {
  readonly protocol = 'HTTP/1.1';
  readonly method: string;
  readonly target: string;
  readonly scheme: 'http' | 'https';
  readonly authority: string | undefined;
  readonly section: FieldSection;
  readonly peer: ConnectionPeer;
  /** False when the request certainly has no body. */
  readonly hasBody: boolean;
  events: Http1RequestEvents | undefined;

  private readonly head: HeadFields;
  private readonly minorVersion: 0 | 1;
  private body: BodyDecoder | undefined;
  private sink: Http1BodySink | undefined;
  private paused = false;
  private state: number = Response.NONE;
  private chunked = false;

  constructor(
    private readonly connection: Http1Connection,
    { line, section }: RequestHead,
  ) {
    this.method = line.method;
    this.target = line.target;
    this.authority = line.authority;
    this.minorVersion = line.minorVersion;
    this.section = this.head = section;
    this.scheme = connection.scheme;
    this.peer = connection.peer;
    this.hasBody = section.bodyLength !== 0;
    if (this.hasBody) this.body = new BodyDecoder(section.bodyLength);
  }

  get peerAddress(): string {
    return this.peer.address;
  }

  /** All of the body has arrived: `readBody` hands it over in one piece, and `onEnd` follows before those octets are taken back. */
  get bodyHere(): boolean {
    const { bodyLength } = this.head;
    return bodyLength > 0 && this.connection.octetsHere >= bodyLength;
  }

  /** Octets of the body can be taken now. */
  get reading(): boolean {
    return this.sink !== undefined && !this.paused && this.body !== undefined;
  }

  /**
   * Octets of the body that nobody wants. Infinity when their number is unknown, when the client waits for leave to send
   * them, or when somebody began to read them and gave up: too many, or too late.
   */
  get rest(): number {
    if (this.body === undefined) return 0;
    return this.head.expectsContinue || this.sink !== undefined ? Infinity : this.body.rest;
  }

  get begun(): boolean {
    return this.state !== Response.NONE;
  }

  /** Nothing was answered yet, and interim responses are understood: HTTP/1.0 has none (RFC 9110 section 15.2). */
  get waits(): boolean {
    return this.state === Response.NONE && this.minorVersion === 1;
  }

  get ended(): boolean {
    return this.state === Response.ENDED;
  }

  /** Starts the flow of the body; called at most once. Nothing of it is taken before. */
  readBody(sink: Http1BodySink): void {
    this.sink = sink;
    if (this.head.expectsContinue) this.connection.sendContinue();
    this.connection.advance();
  }

  pauseBody(): void {
    this.paused = true;
  }

  resumeBody(): void {
    if (!this.paused) return;
    this.paused = false;
    this.connection.advance();
  }

  /**
   * Hands octets to the sink. For the connection alone.
   * @returns the offset after what was taken
   * @throws Http1Fault
   */
  take(bytes: Buffer, from: number): number {
    const { body, sink } = this;
    const to = body!.take(bytes, from);
    const { data, done } = body!;
    if (done) this.body = undefined;
    if (data !== undefined) sink!.onData(data);
    // A sink that refuses what it got has ended the response; nothing more is of interest then.
    if (done && this.state !== Response.ENDED) sink!.onEnd();
    return to;
  }

  respond(
    status: number,
    fields: Fields,
    body: Uint8Array | undefined,
    fixed = NO_FIXED_FIELDS,
    vouched?: Fields,
  ): void {
    if (this.state !== Response.NONE) return;
    const octets = body === undefined ? 0 : body.byteLength;
    const bodiless = status === 204 || status === 304;
    const head = fixed.http1Head(status);
    const lines = fieldLines(fields, vouched);
    this.state = Response.ENDED;
    const sent = bodiless || this.method === 'HEAD' ? undefined : body;
    this.connection.sendHead(head, lines, bodiless ? -1 : octets, this.after(), sent);
    this.connection.responded(this);
  }

  begin(status: number, fields: Fields, fixed = NO_FIXED_FIELDS, vouched?: Fields): void {
    if (this.state !== Response.NONE) return;
    const head = fixed.http1Head(status);
    const lines = fieldLines(fields, vouched);
    this.state = Response.BEGUN;
    this.chunked = this.minorVersion === 1 && this.method !== 'HEAD';
    // To HTTP/1.0 the end of the connection is the end of the body.
    if (!this.chunked && this.method !== 'HEAD') this.connection.lastResponse = true;
    const coding = this.minorVersion === 1 ? 'transfer-encoding: chunked\r\n' : '';
    this.connection.sendHead(head, lines + coding, -1, this.after(), undefined);
  }

  /** False: queued; wait for `onDrain`. */
  write(chunk: Uint8Array): boolean {
    if (this.state !== Response.BEGUN || this.method === 'HEAD' || chunk.byteLength === 0) return true;
    return this.connection.sendPiece(chunk, this.chunked);
  }

  end(trailers: Fields = []): void {
    if (this.state !== Response.BEGUN) return;
    if (this.chunked) this.connection.sendLast(trailers);
    this.state = Response.ENDED;
    this.connection.responded(this);
  }

  /** Ends a response that has begun in a way that the client cannot take for a complete one. */
  reset(): void {
    this.state = Response.ENDED;
    // Without chunks only a reset tells a cut response from a whole one.
    this.connection.cut(!this.chunked);
  }

  /** The connection is over. For the connection alone. */
  gone(): void {
    if (this.state === Response.ENDED) return;
    this.state = Response.ENDED;
    this.events?.onGone();
  }

  /** What becomes of the connection: it ends, too, when too much of a body stands before the next request. */
  private after(): number {
    const { connection, head } = this;
    if (!head.persistent || this.rest > REST_OCTETS_MAX || connection.draining) connection.lastResponse = true;
    if (connection.lastResponse) return After.CLOSES;
    return this.minorVersion === 0 ? After.PERSISTS_1_0 : After.PERSISTS;
  }
}
