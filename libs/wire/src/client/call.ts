import type { Fields } from '../fields.js';
import type { MemoryAccount } from '../memory/account.js';

/** How a call ended. */
export interface Outcome {
  /** gRPC status code, 0 to 16. */
  code: number;
  /** `grpc-message`, percent-decoded, or our own sentence when the call failed on this side. */
  message: string;
  /** `grpc-status-details-bin`, decoded: a serialized `google.rpc.Status`. */
  details?: Buffer;
  /** Trailers as they arrived, `grpc-status` and `grpc-message` included; empty when none arrived. */
  trailers: Fields;
  /** True when the peer certainly did not process the call, so that it may be sent again. */
  unprocessed: boolean;
  /** True when the call was refused on this side because the queue is full or every address is ejected. */
  overloaded?: boolean;
  /** With `overloaded`: when another attempt is worthwhile, in milliseconds from now. */
  retryAfterMs?: number;
}

/** What the caller of a gRPC call hands in: a plain object or a class instance; one may serve many calls' shapes without closures. */
export interface CallEvents {
  /** Initial response metadata, without pseudo-headers. Not called for a trailers-only response. */
  onHeaders(fields: Fields): void;
  /** One decompressed message. Never called between `pause()` and `resume()`. The buffer is the callee's to keep. */
  onMessage(message: Buffer): void;
  /** Exactly once, also on failure, and never inside `start()` or `unary()`. */
  onEnd(outcome: Outcome): void;
  /** After `write()` returned false: the queue has been sent, writing may continue. */
  onDrain?(): void;
}

export interface CallOptions {
  /** Absolute, in milliseconds as `Date.now()` counts; Infinity or absent: none. Travels as `grpc-timeout`; expiry ends the call with DEADLINE_EXCEEDED. */
  deadline?: number;
  /** The method is safe to send again although it may have been processed: retried on UNAVAILABLE within the retry budget. */
  idempotent?: boolean;
  /** Largest message accepted from the peer, in bytes after decompression. Default: the channel's. */
  maxMessageBytes?: number;
  /** Compress messages to the peer. Default: none. */
  compression?: 'gzip';
  /** Takes no place among the calls in flight: for streams, which last as long as somebody listens, and for checks of health. */
  unlimited?: boolean;
  /** How long the call may wait to be sent although the channel's `maxWaitMs` is less, in milliseconds. */
  waitMs?: number;
  /** Calls of one share wait behind each other, and take turns with those of others where many wait. Default: one share for all. */
  share?: string;
  /** Counts what is held for the call; without room in it, large messages wait, or end the call as `overloaded`. */
  account?: MemoryAccount;
}

/** A call in progress. Every method is a no-op once the call has ended. */
export interface Call {
  /** Sends one message. False: queued; wait for `onDrain` before writing more. The bytes must not be changed afterwards. */
  write(message: Uint8Array): boolean;
  /** No more messages will be written. */
  end(): void;
  /** Ends the call now: `onEnd` is called with `code` (default CANCELLED) before this returns, and the peer gets RST_STREAM(CANCEL). */
  cancel(code?: number, reason?: string): void;
  /** Stops `onMessage`; the peer is stopped by flow control once its window is used up. */
  pause(): void;
  resume(): void;
}

/** What the caller of a relayed stream hands in: DATA bytes and fields as they travel. */
export interface RelayEvents {
  /** The response's header fields without `:status`. `last`: END_STREAM was set (a trailers-only response), `onEnd` follows. */
  onHeaders(status: number, fields: Fields, last: boolean): void;
  /** DATA as it arrives: message prefixes included, cut anywhere. What the callee keeps of it after it returns it copies. Never called between `pause()` and `resume()`. */
  onData(chunk: Buffer): void;
  /** Exactly once, also on failure. */
  onEnd(end: RelayEnd): void;
  onDrain?(): void;
}

export interface RelayEnd {
  /** The trailers as they arrived; absent when the stream ended without (on DATA, on the headers, or by failure). */
  trailers?: Fields;
  /** Present when the stream failed, on either side: what to tell the client in gRPC terms. */
  failure?: Outcome;
}

export interface RelayOptions {
  /** Absolute, in milliseconds as `Date.now()` counts; Infinity or absent: none. Travels as `grpc-timeout`, so the fields must not contain one. */
  deadline?: number;
  /** As in `CallOptions`. */
  unlimited?: boolean;
  waitMs?: number;
  share?: string;
  /** Counts what is held for the stream. */
  account?: MemoryAccount;
}

/** A relayed stream in progress. Every method is a no-op once it has ended. */
export interface Relay {
  /** Sends bytes as DATA. False: queued; wait for `onDrain`. The bytes must not be changed afterwards. */
  write(bytes: Uint8Array): boolean;
  /** Another deadline than it was opened with, for when more is known; what the peer was told stays. */
  setDeadline(deadline: number): void;
  end(): void;
  cancel(code?: number, reason?: string): void;
  pause(): void;
  resume(): void;
}
