import type { Fields } from '../fields.js';
import type { Http1Fault } from './fault.js';
import type { Http1Request } from './request.js';

/** What a client may do and make the server hold. */
export interface Http1ServerSettings {
  /** Octets of a request's head; a larger one is answered with 431. */
  readonly maxHeadBytes: number;
  /** A head that has begun must be complete within this time, in milliseconds; then 408. */
  readonly headersTimeoutMs: number;
  /** A connection between two requests is closed after this time, in milliseconds. */
  readonly idleTimeoutMs: number;
  /** A client must take something of what waits for it within this time, in milliseconds; then the connection is cut. */
  readonly writeTimeoutMs: number;
  /** Octets a second, on average over `writeTimeoutMs`, that a client takes at least of what waits for it; absent: however few. */
  readonly leastWriteRate?: number;
}

/** Totals since the server was made, but for `open`, which is of now. */
export interface Http1ServerCounters {
  connections: number;
  open: number;
  requests: number;
  /** Requests that could not be read; the connection ended with an answer that says so. */
  malformed: number;
  headersTooLarge: number;
  headersTimeouts: number;
  writeTimeouts: number;
  idleTimeouts: number;
}

/** Whom the requests of a server are for. */
export interface Http1Handler {
  /** Called for every request; sets `request.events` before it returns. */
  onRequest(request: Http1Request): void;
  /** The answer to what cannot be read as a request; the server adds what ends the connection. */
  answerFault(fault: Http1Fault, scheme: 'http' | 'https'): { readonly fields: Fields; readonly body: Uint8Array };
}
