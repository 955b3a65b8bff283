import { Client, type Dispatcher } from 'undici';
import type { ClientAddress } from './address-pool.js';
import type { AddressMode } from './plan.js';

export interface Request {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  readonly accept?: string;
  /** JSON. */
  readonly body?: string;
  /** Whether the text of an answer of 2xx is of interest, not just its end. */
  readonly keep: 'all' | 'last line' | 'nothing';
}

/** What came back; moments are of `performance.now()`. */
export interface Answer {
  /** 0 when there was no answer, or only a part of one. */
  readonly status: number;
  /** Why there was none: the code of the platform or of undici. */
  readonly fault: string | undefined;
  readonly firstByteMs: number;
  readonly endedMs: number;
  readonly body: string;
  readonly retryAfterMs: number;
}

/** Text of an answer that is kept at most; of the rest only the end counts. */
const BODY_BYTES_MAX = 65_536;

/** Connections of one address at most, as many as a small office has open; further calls wait for one that ends. */
const CONNECTIONS_MAX = 64;
/** The same for all addresses together, when they are only said in `X-Forwarded-For`. */
const CONNECTIONS_SHARED_MAX = 1_024;

/** The connections of one client address. */
interface ConnectionPool {
  open: number;
  /** Those that carry no call, the one used last at the end. */
  readonly free: Client[];
  /** Calls that wait for a connection. */
  readonly waiting: ((client: Client) => void)[];
}

/**
 * A pool of connections per client address, or one for all when the address is only said in `X-Forwarded-For`. Each connection
 * carries one call at a time; the one used last is used first, so that those that a burst needed can fall idle and close.
 */
export class Transport {
  private readonly pools = new Map<number, ConnectionPool>();
  private readonly clients: Client[] = [];
  private closed = false;

  constructor(
    private readonly origin: string,
    private readonly mode: AddressMode,
    private readonly callTimeoutMs: number,
  ) {}

  /** Calls back instead of promising: it is the path of every call. */
  send(from: ClientAddress, request: Request, headers: Record<string, string>, ended: (answer: Answer) => void): void {
    const pool = this.poolOf(from);
    if (this.mode === 'forwarded') headers['x-forwarded-for'] = from.address;
    if (request.accept !== undefined) headers['accept'] = request.accept;
    if (request.body !== undefined) headers['content-type'] = 'application/json';
    const on = (client: Client) => {
      const reader = new AnswerReader(request.keep, (answer) => {
        this.release(pool, client);
        ended(answer);
      });
      const { method, path, body = null } = request;
      try {
        client.dispatch({ method, path, headers, body }, reader);
      } catch (error) {
        reader.onResponseError(undefined, error as Error);
      }
    };
    const client = pool.free.pop() ?? this.connect(pool, from);
    if (client) on(client);
    else pool.waiting.push(on);
  }

  private release(pool: ConnectionPool, client: Client): void {
    const next = pool.waiting.shift();
    if (next) next(client);
    else if (!this.closed) pool.free.push(client);
  }

  /** Ends every connection; calls under way end with a fault. */
  async close(): Promise<void> {
    this.closed = true;
    await Promise.all(this.clients.map((client) => client.destroy()));
  }

  private poolOf(from: ClientAddress): ConnectionPool {
    const key = this.mode === 'forwarded' ? 0 : from.index;
    let pool = this.pools.get(key);
    if (!pool) this.pools.set(key, (pool = { open: 0, free: [], waiting: [] }));
    return pool;
  }

  /** Undefined when the pool has as many connections as it may. */
  private connect(pool: ConnectionPool, from: ClientAddress): Client | undefined {
    if (pool.open >= (this.mode === 'forwarded' ? CONNECTIONS_SHARED_MAX : CONNECTIONS_MAX)) return undefined;
    pool.open++;
    const client = new Client(this.origin, {
      ...(this.mode === 'source' && { localAddress: from.address }),
      pipelining: 1,
      headersTimeout: this.callTimeoutMs,
      bodyTimeout: this.callTimeoutMs,
      connectTimeout: Math.min(this.callTimeoutMs, 10_000),
      // One protocol for all targets, so that runs can be compared.
      allowH2: false,
    });
    this.clients.push(client);
    return client;
  }
}

/** Reads one answer without streams: a handler of undici's lowest level. */
class AnswerReader implements Dispatcher.DispatchHandler {
  private status = 0;
  private firstByteMs = 0;
  private retryAfterMs = 0;
  private chunks: Buffer[] | undefined;
  private keptBytes = 0;

  constructor(
    private readonly keep: Request['keep'],
    private readonly resolve: (answer: Answer) => void,
  ) {}

  onRequestStart(): void {}

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: Record<string, unknown>): void {
    this.status = status;
    if (status === 429 || status === 503) this.retryAfterMs = retryAfter(headers['retry-after']);
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.firstByteMs === 0) this.firstByteMs = performance.now();
    const failed = this.status >= 400;
    if (this.keep === 'nothing' && !failed) return;
    if (this.keep === 'last line' && !failed) {
      // Lines come whole in most chunks; the chunk before the last covers a line that was cut.
      const before = this.chunks?.at(-1);
      this.chunks = before ? [before, chunk] : [chunk];
    } else if (this.keptBytes < BODY_BYTES_MAX) {
      this.keptBytes += chunk.length;
      (this.chunks ??= []).push(chunk);
    }
  }

  onResponseEnd(): void {
    this.end(this.status, undefined);
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, error: Error & { code?: string }): void {
    this.end(0, error.code ?? error.name);
  }

  private end(status: number, fault: string | undefined): void {
    const endedMs = performance.now();
    this.resolve({
      status,
      fault,
      firstByteMs: this.firstByteMs || endedMs,
      endedMs,
      body: this.chunks ? Buffer.concat(this.chunks).toString() : '',
      retryAfterMs: this.retryAfterMs,
    });
  }
}

/** `Retry-After` in seconds, or as a date (RFC 9110 section 10.2.3), in milliseconds; 0 without one. */
function retryAfter(value: unknown): number {
  const text = Array.isArray(value) ? String(value[0]) : String(value ?? '');
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const date = Date.parse(text);
  return Number.isNaN(date) ? 0 : Math.max(0, date - Date.now());
}
