import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Fields } from '@sluice/wire';
import type { BodySink, Transport } from '../exchange.js';

/** Names of trailers are announced only to clients that say they read them (RFC 9110 section 6.5.1). */
export class Http1Transport implements Transport {
  readonly protocol = 'HTTP/1.1';
  readonly method: string;
  readonly target: string;
  readonly authority = undefined;
  readonly rawFields: readonly string[];
  readonly peerAddress: string;
  readonly hasBody: boolean;
  onDrain: (() => void) | undefined;
  onGone: (() => void) | undefined;

  constructor(
    private readonly request: IncomingMessage,
    private readonly response: ServerResponse,
    readonly scheme: 'http' | 'https',
  ) {
    this.method = request.method!;
    this.target = originForm(request.url!);
    this.rawFields = request.rawHeaders;
    this.peerAddress = request.socket.remoteAddress ?? '';
    const { headers } = request;
    this.hasBody =
      headers['transfer-encoding'] !== undefined ||
      (headers['content-length'] !== undefined && headers['content-length'] !== '0');
    response.on('close', () => {
      if (!response.writableFinished) this.onGone?.();
    });
  }

  readBody(sink: BodySink): void {
    this.request.on('data', (chunk: Buffer) => sink.onData(chunk));
    this.request.on('end', () => sink.onEnd());
  }

  pauseBody(): void {
    this.request.pause();
  }

  resumeBody(): void {
    this.request.resume();
  }

  respond(status: number, fields: Fields, body: Uint8Array | undefined): void {
    const flat = flatten(fields);
    if (status !== 204 && status !== 304) flat.push('content-length', String(body?.byteLength ?? 0));
    this.endUnreadBody(flat);
    this.response.writeHead(status, flat);
    this.response.end(body);
  }

  begin(status: number, fields: Fields): void {
    const flat = flatten(fields);
    this.endUnreadBody(flat);
    this.response.writeHead(status, flat);
    this.response.flushHeaders();
    this.response.on('drain', () => this.onDrain?.());
  }

  write(chunk: Uint8Array): boolean {
    return this.response.write(chunk);
  }

  end(trailers?: Fields): void {
    if (trailers && trailers.length > 0) this.response.addTrailers(trailers as unknown as [string, string][]);
    this.response.end();
  }

  reset(): void {
    this.response.destroy();
  }

  /** A body that nobody reads ends the connection, so that what is left of it is never taken for the next request. */
  private endUnreadBody(flat: string[]): void {
    if (this.request.complete || !this.hasBody) return;
    flat.push('connection', 'close');
    this.request.resume();
  }
}

function flatten(fields: Fields): string[] {
  const flat: string[] = [];
  for (const [name, value] of fields) flat.push(name, value);
  return flat;
}

/** The path and query of an absolute-form target (RFC 9112 section 3.2.2), which proxies send. */
function originForm(target: string): string {
  if (target.charCodeAt(0) === 0x2f || target === '*') return target;
  const match = /^https?:\/\/[^/?#]*(.*)$/i.exec(target);
  if (!match) return target;
  const rest = match[1]!;
  return rest.startsWith('/') ? rest : `/${rest}`;
}
