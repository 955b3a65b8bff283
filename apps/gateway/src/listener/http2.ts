import type { ConnectionPeer, Fields, FieldSection, FixedFields, RequestEvents, ServerStream } from '@sluice/wire';
import type { BodySink, Transport, TransportEvents } from '../exchange.js';

/** One request and its answer on a stream of HTTP/2. */
export class Http2Transport implements Transport, RequestEvents {
  readonly protocol = 'HTTP/2';
  readonly method: string;
  readonly target: string;
  readonly scheme: 'http' | 'https';
  readonly writtenScheme: string;
  readonly authority: string | undefined;
  readonly section: FieldSection;
  readonly peerAddress: string;
  readonly peer: ConnectionPeer;
  readonly hasBody: boolean;
  /** A body comes frame by frame. */
  readonly bodyHere = false;
  events: TransportEvents | undefined;
  private sink: BodySink | undefined;

  constructor(private readonly stream: ServerStream) {
    const { socket, section, authority } = stream;
    this.method = stream.method;
    this.target = stream.path;
    this.scheme = 'encrypted' in socket ? 'https' : 'http';
    this.writtenScheme = stream.scheme;
    this.authority = authority === '' ? undefined : authority;
    this.section = section;
    this.peer = stream.peer;
    this.peerAddress = stream.peer.address;
    this.hasBody = !stream.endStream;
    stream.events = this;
    // What nobody has asked for yet waits in the client, by flow control.
    if (this.hasBody) stream.pause();
  }

  readBody(sink: BodySink): void {
    this.sink = sink;
    if (this.hasBody && waitsForLeave(this.section.fields)) this.stream.respond(100, []);
    // How long the body may take is the exchange's to say, as on HTTP/1.1: a stream of requests may be long.
    this.stream.liftBodyTimeout();
    this.stream.resume();
  }

  pauseBody(): void {
    this.stream.pause();
  }

  resumeBody(): void {
    this.stream.resume();
  }

  respond(status: number, fields: Fields, body: Uint8Array | undefined, fixed: FixedFields, vouched: Fields): void {
    const { stream } = this;
    if (stream.finished) return;
    const length = body?.byteLength ?? 0;
    const bodiless = status === 204 || status === 304;
    if (body === undefined || length === 0 || bodiless || this.method === 'HEAD') {
      return stream.respond(status, fields, true, fixed, vouched, bodiless ? -1 : length);
    }
    stream.respondWith(status, fields, body, fixed, vouched);
  }

  begin(status: number, fields: Fields, fixed: FixedFields, vouched: Fields): void {
    if (!this.stream.finished) this.stream.respond(status, fields, this.method === 'HEAD', fixed, vouched);
  }

  write(chunk: Uint8Array): boolean {
    return this.stream.finished || this.stream.write(chunk);
  }

  end(trailers: Fields = []): void {
    if (this.stream.finished) return;
    if (trailers.length > 0) this.stream.trailers(trailers);
    else this.stream.end();
  }

  reset(): void {
    this.stream.reset(INTERNAL_ERROR);
  }

  onData(chunk: Buffer): void {
    this.sink?.onData(chunk);
  }

  onEnd(): void {
    this.sink?.onEnd();
  }

  onDrain(): void {
    this.events?.onDrain();
  }

  onReset(): void {
    this.events?.onGone();
  }
}

/** Whether the client waits before it sends its body (RFC 9110 section 10.1.1); preflight has refused any other expectation. */
function waitsForLeave(fields: Fields): boolean {
  return fields.some(([name]) => name === 'expect');
}

/** RFC 9113 section 7. */
const INTERNAL_ERROR = 2;
