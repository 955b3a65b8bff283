import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Fields } from '@sluice/wire';
import type { BodySink, Transport, TransportEvents } from '../exchange.js';
import { lingeringClose } from './linger.js';

/** Up to this many bytes a copy costs less than a second buffer in the write. */
const SMALL_BODY = 8192;

/** What all requests of a listener share. */
export interface Http1Context {
  /** Every answer asks its client to close the connection. */
  draining: boolean;
  /** How long a client may take nothing of an answer that is there for it, in milliseconds. */
  readonly sendMs: number;
}

/** One request and its answer on a connection of HTTP/1.1. */
export class Http1Transport implements Transport {
  readonly protocol = 'HTTP/1.1';
  readonly method: string;
  readonly target: string;
  readonly scheme: 'http' | 'https';
  readonly authority: string | undefined;
  readonly rawFields: readonly string[];
  readonly peerAddress: string;
  readonly hasBody: boolean;
  events: TransportEvents | undefined;
  private readonly socket: Socket;

  /** @param expectsContinue the client waits for leave to send the body (RFC 9110 section 10.1.1) */
  constructor(
    private readonly request: IncomingMessage,
    private readonly response: ServerResponse,
    private readonly context: Http1Context,
    private readonly expectsContinue = false,
  ) {
    const { socket, rawHeaders } = request;
    this.socket = socket;
    this.method = request.method!;
    const url = request.url!;
    this.target = url;
    if (url.charCodeAt(0) !== 0x2f) ({ target: this.target, authority: this.authority } = originForm(url));
    this.scheme = 'encrypted' in socket ? 'https' : 'http';
    this.rawFields = rawHeaders;
    this.peerAddress = socket.remoteAddress ?? '';
    this.hasBody = announcesBody(rawHeaders);
    response.on('close', () => {
      if (!response.writableFinished) this.events?.onGone();
    });
  }

  readBody(sink: BodySink): void {
    if (this.expectsContinue) this.response.writeContinue();
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
    this.closeWhenDue(flat);
    this.response.writeHead(status, flat);
    // Text leaves with the header section in one string, and Node makes one plain write of it.
    if (body !== undefined && body.byteLength <= SMALL_BODY)
      this.response.end(asBuffer(body).toString('latin1'), 'latin1');
    else this.response.end(body);
    this.watch();
  }

  begin(status: number, fields: Fields): void {
    const flat = flatten(fields);
    this.closeWhenDue(flat);
    this.response.writeHead(status, flat);
    this.response.flushHeaders();
    this.response.on('drain', () => {
      this.socket.setTimeout(0);
      this.events?.onDrain();
    });
  }

  write(chunk: Uint8Array): boolean {
    const room = this.response.write(chunk);
    if (!room) this.watch();
    return room;
  }

  end(trailers?: Fields): void {
    if (trailers && trailers.length > 0) this.response.addTrailers(trailers as unknown as [string, string][]);
    this.response.end();
    this.watch();
  }

  reset(): void {
    this.response.destroy();
  }

  /** Nothing of what waits to be sent is taken for a while: then the connection is cut. Node re-arms the timer on progress. */
  private watch(): void {
    if (this.socket.writableLength > 0) this.socket.setTimeout(this.context.sendMs);
  }

  /** A body that nobody reads ends the connection, so that what is left of it is never taken for the next request. */
  private closeWhenDue(flat: string[]): void {
    if (this.hasBody && !this.request.complete) {
      flat.push('connection', 'close');
      // Node closes by this method after the last answer; it would cut off a client that is still sending.
      this.socket.destroySoon = () => lingeringClose(this.socket);
      this.request.resume();
    } else if (this.context.draining) flat.push('connection', 'close');
  }
}

/** Whether the fields announce a body (RFC 9112 section 6.3). The parser has made sure that they agree. */
function announcesBody(rawHeaders: readonly string[]): boolean {
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!;
    if (name.length === 14) {
      if (name.toLowerCase() === 'content-length') return Number(rawHeaders[index + 1]) !== 0;
    } else if (name.length === 17 && name.toLowerCase() === 'transfer-encoding') return true;
  }
  return false;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function flatten(fields: Fields): string[] {
  const flat: string[] = [];
  for (const [name, value] of fields) flat.push(name, value);
  return flat;
}

/** The parts of an absolute-form target (RFC 9112 section 3.2.2), which proxies send; `*` stays as it is. */
function originForm(url: string): { target: string; authority: string | undefined } {
  const match = /^https?:\/\/([^/?#]*)(.*)$/i.exec(url);
  if (!match) return { target: url, authority: undefined };
  const rest = match[2]!;
  return { target: rest.startsWith('/') ? rest : `/${rest}`, authority: match[1]! };
}
