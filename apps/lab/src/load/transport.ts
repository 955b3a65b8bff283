import type { AnswerReader } from '../http/answer-parser.js';
import { Connection, type Origin, originOf } from '../http/connection.js';
import type { ClientAddress } from './address-pool.js';
import type { AddressMode } from './plan.js';
import type { Request } from './request.js';

/** What came back; moments are of `performance.now()`. */
export interface Answer {
  /** 0 when there was no answer, or only a part of one. */
  readonly status: number;
  /** Why there was none: the code of the platform or of the connection. */
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
/** How often connections are looked at that wait for too long. */
const CHECK_EVERY_MS = 250;

/**
 * A pool of connections per client address, or one for all when the address is only said in `X-Forwarded-For`. Each connection
 * carries one call at a time; the one used last is used first, so that those that a burst needed can fall idle and close.
 */
export class Transport {
  private readonly origin: Origin;
  private readonly pools = new Map<number, ConnectionPool>();
  private readonly checks: NodeJS.Timeout;
  /** Opened since the start. */
  connections = 0;

  constructor(
    url: string,
    private readonly mode: AddressMode,
    private readonly callTimeoutMs: number,
  ) {
    this.origin = originOf(url);
    this.checks = setInterval(() => this.check(), CHECK_EVERY_MS).unref();
  }

  /**
   * Calls back instead of promising: it is the path of every call.
   *
   * @param fields of the request, each a line of a name and a value that {@link isField} allows
   */
  send(from: ClientAddress, request: Request, fields: string, ended: (answer: Answer) => void): void {
    const { head, body = '', keep } = request;
    const { authority } = this.origin;
    const exchange = new Exchange(keep, ended);
    if (this.mode === 'source' && body === '') {
      return this.poolOf(from).carry(head.alone(authority, fields), '', exchange);
    }
    let lines = head.lines(authority, fields);
    if (this.mode === 'forwarded') lines += `x-forwarded-for: ${from.address}\r\n`;
    if (body !== '') lines += `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n`;
    this.poolOf(from).carry(`${lines}\r\n`, body, exchange);
  }

  /** Ends every connection; calls under way end with a fault. */
  close(): void {
    clearInterval(this.checks);
    for (const pool of this.pools.values()) pool.close();
  }

  private check(): void {
    const nowMs = performance.now();
    for (const pool of this.pools.values()) pool.check(nowMs, this.callTimeoutMs);
  }

  private poolOf(from: ClientAddress): ConnectionPool {
    const shared = this.mode === 'forwarded';
    const key = shared ? 0 : from.index;
    let pool = this.pools.get(key);
    if (!pool) {
      const open = (freed: (connection: Connection) => void, closed: (connection: Connection) => void) => {
        this.connections++;
        return new Connection(this.origin, shared ? undefined : from.address, freed, closed);
      };
      pool = new ConnectionPool(shared ? CONNECTIONS_SHARED_MAX : CONNECTIONS_MAX, open);
      this.pools.set(key, pool);
    }
    return pool;
  }
}

interface WaitingCall {
  readonly head: string;
  readonly body: string;
  readonly exchange: Exchange;
}

/** The connections of one client address. */
class ConnectionPool {
  private readonly open = new Set<Connection>();
  /** Those that carry no call, the one used last at the end. */
  private readonly free: Connection[] = [];
  /** Calls that wait for a connection. */
  private readonly waiting: WaitingCall[] = [];
  private ended = false;

  constructor(
    private readonly max: number,
    private readonly connect: (
      freed: (connection: Connection) => void,
      closed: (connection: Connection) => void,
    ) => Connection,
  ) {}

  carry(head: string, body: string, exchange: Exchange): void {
    const connection = this.free.pop() ?? (this.open.size < this.max ? this.connected() : undefined);
    if (connection) connection.send(head, body, exchange);
    else this.waiting.push({ head, body, exchange });
  }

  check(nowMs: number, callTimeoutMs: number): void {
    for (const connection of this.open) connection.check(nowMs, callTimeoutMs);
  }

  close(): void {
    this.ended = true;
    for (const connection of this.open) connection.close('CLOSED');
    for (const { exchange } of this.waiting.splice(0)) {
      exchange.came(performance.now());
      exchange.ended('CLOSED');
    }
  }

  private connected(): Connection {
    const connection = this.connect(this.freed, this.closed);
    this.open.add(connection);
    return connection;
  }

  private readonly freed = (connection: Connection): void => {
    const next = this.waiting.shift();
    if (next) connection.send(next.head, next.body, next.exchange);
    else this.free.push(connection);
  };

  private readonly closed = (connection: Connection): void => {
    this.open.delete(connection);
    const place = this.free.indexOf(connection);
    if (place >= 0) this.free.splice(place, 1);
    if (this.ended) return;
    const next = this.waiting.shift();
    if (next) this.connected().send(next.head, next.body, next.exchange);
  };
}

/** One call: keeps what matters of its answer, and is the answer in the end, since one object a call is cheaper than two. */
class Exchange implements AnswerReader, Answer {
  status = 0;
  fault: string | undefined = undefined;
  firstByteMs = 0;
  endedMs = 0;
  private retryAfter = '';
  /** The bytes kept, each as one character. */
  private kept = '';

  constructor(
    private readonly keep: Request['keep'],
    private readonly tell: (answer: Answer) => void,
  ) {}

  came(atMs: number): void {
    this.endedMs = atMs;
  }

  head(status: number, retryAfter: string): void {
    this.status = status;
    this.retryAfter = retryAfter;
  }

  data(bytes: Buffer, from: number, to: number): void {
    if (this.firstByteMs === 0) this.firstByteMs = this.endedMs;
    const failed = this.status >= 400;
    if (this.keep === 'nothing' && !failed) return;
    if (this.keep === 'last line' && !failed) {
      // The last line begins behind the last line end that more comes after.
      if (this.kept.endsWith('\n')) this.kept = '';
      const lineEnd = bytes.subarray(from, to - 1).lastIndexOf('\n');
      if (lineEnd >= 0) {
        this.kept = bytes.toString('latin1', from + lineEnd + 1, to);
        return;
      }
    }
    if (this.kept.length < BODY_BYTES_MAX) this.kept += bytes.toString('latin1', from, to);
  }

  get body(): string {
    return this.kept === '' ? '' : Buffer.from(this.kept, 'latin1').toString();
  }

  get retryAfterMs(): number {
    return this.retryAfter === '' ? 0 : retryAfterMs(this.retryAfter);
  }

  ended(fault: string | undefined): void {
    if (fault !== undefined) {
      this.fault = fault;
      this.status = 0;
    }
    if (this.firstByteMs === 0) this.firstByteMs = this.endedMs;
    this.tell(this);
  }
}

/** `Retry-After` in seconds, or as a date (RFC 9110 section 10.2.3), in milliseconds; 0 when it is neither. */
function retryAfterMs(value: string): number {
  if (/^\d+(\.\d+)?$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? 0 : Math.max(0, date - Date.now());
}
