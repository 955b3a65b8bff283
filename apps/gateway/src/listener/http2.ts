import type { ServerHttp2Stream } from 'node:http2';
import type { Fields } from '@sluice/wire';
import type { BodySink, Transport } from '../exchange.js';

/** One stream of an HTTP/2 connection. */
export class Http2Transport implements Transport {
  readonly protocol = 'HTTP/2';
  readonly method: string;
  readonly target: string;
  readonly authority: string | undefined;
  readonly rawFields: readonly string[];
  readonly peerAddress: string;
  readonly hasBody: boolean;
  onDrain: (() => void) | undefined;
  onGone: (() => void) | undefined;
  private answered = false;
  private trailers: Fields = [];
  private stuck: NodeJS.Timeout | undefined;

  /**
   * @param rawHeaders as Node gives them: name, value, …, pseudo-header fields first
   * @param sendMs how long a client may take nothing of an answer that is there for it
   */
  constructor(
    private readonly stream: ServerHttp2Stream,
    rawHeaders: readonly string[],
    readonly scheme: 'http' | 'https',
    private readonly sendMs: number,
    private readonly onSlow: () => void,
  ) {
    let method = '';
    let target = '';
    let authority: string | undefined;
    const rawFields: string[] = [];
    for (let index = 0; index < rawHeaders.length; index += 2) {
      const name = rawHeaders[index]!;
      const value = rawHeaders[index + 1]!;
      if (name === ':method') method = value;
      else if (name === ':path') target = value;
      else if (name === ':authority') authority = value;
      else if (!name.startsWith(':')) rawFields.push(name, value);
    }
    this.method = method;
    this.target = target;
    this.authority = authority;
    this.rawFields = rawFields;
    this.peerAddress = stream.session?.socket?.remoteAddress ?? '';
    this.hasBody = !stream.endAfterHeaders;
    stream.on('error', () => undefined);
    stream.on('close', () => {
      clearTimeout(this.stuck);
      if (!this.answered || !stream.writableFinished) this.onGone?.();
    });
  }

  readBody(sink: BodySink): void {
    this.stream.on('data', (chunk: Buffer) => sink.onData(chunk));
    // Node ends what can be read of a stream that was reset, too; then the body is not whole.
    this.stream.on('end', () => {
      if (!this.stream.rstCode && !this.stream.aborted) sink.onEnd();
    });
  }

  pauseBody(): void {
    this.stream.pause();
  }

  resumeBody(): void {
    this.stream.resume();
  }

  respond(status: number, fields: Fields, body: Uint8Array | undefined): void {
    if (this.stream.destroyed || this.stream.closed) return;
    this.answered = true;
    const headers = collect(status, fields);
    if (status !== 204 && status !== 304) headers['content-length'] = String(body?.byteLength ?? 0);
    const withoutBody = body === undefined || body.byteLength === 0 || this.method === 'HEAD';
    this.stream.respond(headers, { endStream: withoutBody });
    if (!withoutBody) this.stream.end(body);
    this.watch();
    this.leaveUnreadBody();
  }

  begin(status: number, fields: Fields): void {
    if (this.stream.destroyed || this.stream.closed) return;
    this.answered = true;
    this.stream.on('wantTrailers', () => this.stream.sendTrailers(collect(undefined, this.trailers)));
    this.stream.respond(collect(status, fields), { waitForTrailers: this.method !== 'HEAD' });
    this.stream.on('drain', () => {
      clearTimeout(this.stuck);
      this.onDrain?.();
    });
  }

  write(chunk: Uint8Array): boolean {
    if (this.method === 'HEAD') return true;
    if (this.stream.destroyed || this.stream.writableEnded) return false;
    const room = this.stream.write(chunk);
    if (!room) this.watch();
    return room;
  }

  end(trailers: Fields = []): void {
    this.trailers = trailers;
    this.stream.end();
    this.watch();
    this.leaveUnreadBody();
  }

  reset(): void {
    this.stream.close(2 /* INTERNAL_ERROR */);
  }

  /** Looks, as long as something waits to be sent, whether any of it was taken since the last look. */
  private watch(): void {
    clearTimeout(this.stuck);
    const waiting = this.stream.writableLength + this.stream.bufferSize;
    if (waiting === 0 || this.stream.destroyed) return;
    this.stuck = setTimeout(() => {
      const left = this.stream.writableLength + this.stream.bufferSize;
      if (left > 0 && left < waiting) return this.watch();
      if (left === 0) return;
      this.onSlow();
      this.stream.close(8 /* CANCEL */);
      this.stream.destroy();
    }, this.sendMs);
  }

  /** What is left of a body that the answer does not need is read and thrown away (RFC 9113 section 8.1). */
  private leaveUnreadBody(): void {
    if (!this.stream.readableEnded && this.hasBody) this.stream.resume();
  }
}

function collect(status: number | undefined, fields: Fields): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = status === undefined ? {} : { ':status': String(status) };
  for (const [name, value] of fields) {
    const before = headers[name];
    headers[name] = before === undefined ? value : Array.isArray(before) ? [...before, value] : [before, value];
  }
  return headers;
}
