import type { ServerHttp2Stream } from 'node:http2';
import type { Fields } from '@sluice/wire';
import type { BodySink, Transport } from '../exchange.js';

/** One stream of an HTTP/2 connection. */
export class Http2Transport implements Transport {
  readonly protocol = 'HTTP/2';
  readonly method: string;
  readonly target: string;
  readonly scheme: 'http' | 'https';
  readonly authority: string | undefined;
  readonly rawFields: readonly string[];
  readonly peerAddress: string;
  readonly hasBody: boolean;
  onDrain: (() => void) | undefined;
  onGone: (() => void) | undefined;
  private answered = false;

  /** @param rawHeaders as Node gives them: name, value, …, pseudo-header fields first */
  constructor(
    private readonly stream: ServerHttp2Stream,
    rawHeaders: readonly string[],
    endStream: boolean,
    scheme: 'http' | 'https',
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
    this.scheme = scheme;
    this.authority = authority;
    this.rawFields = rawFields;
    this.peerAddress = stream.session?.socket?.remoteAddress ?? '';
    this.hasBody = !endStream;
    stream.on('error', () => undefined);
    stream.on('close', () => {
      if (!this.answered || !stream.writableFinished) this.onGone?.();
    });
  }

  readBody(sink: BodySink): void {
    this.stream.on('data', (chunk: Buffer) => sink.onData(chunk));
    this.stream.on('end', () => sink.onEnd());
  }

  pauseBody(): void {
    this.stream.pause();
  }

  resumeBody(): void {
    this.stream.resume();
  }

  respond(status: number, fields: Fields, body: Uint8Array | undefined): void {
    if (this.stream.destroyed) return;
    this.answered = true;
    const headers = collect(status, fields);
    if (status !== 204 && status !== 304) headers['content-length'] = String(body?.byteLength ?? 0);
    const withoutBody = body === undefined || body.byteLength === 0 || this.method === 'HEAD';
    this.stream.respond(headers, { endStream: withoutBody });
    if (!withoutBody) this.stream.end(body);
    this.leaveUnreadBody();
  }

  begin(status: number, fields: Fields): void {
    if (this.stream.destroyed) return;
    this.answered = true;
    this.stream.respond(collect(status, fields), { waitForTrailers: true });
    this.stream.on('drain', () => this.onDrain?.());
    this.stream.on('wantTrailers', () => this.stream.sendTrailers(collect(undefined, this.trailers)));
  }

  private trailers: Fields = [];

  write(chunk: Uint8Array): boolean {
    return this.stream.destroyed ? false : this.stream.write(chunk);
  }

  end(trailers: Fields = []): void {
    this.trailers = trailers;
    this.stream.end();
    this.leaveUnreadBody();
  }

  reset(): void {
    this.stream.close(2 /* INTERNAL_ERROR */);
  }

  /** An answer that needs nothing more of the request says so (RFC 9113 section 8.1). */
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
