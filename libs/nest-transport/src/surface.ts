/**
 * The call objects that handlers get, shaped as those of grpc-js (`ServerUnaryCall` and so on), so that Nest's gRPC
 * transport and everything written for it works on them unchanged. Beyond those they have `signal`.
 */
import type { EventEmitter } from 'node:events';
import type { Metadata, MethodDefinition } from '@grpc/grpc-js';
import { Status, type GrpcServerCall } from '@sluice/wire';
import { fieldsOf, metadataOf } from './metadata.js';
import { statusOf } from './status.js';

/** A method as proto-loader describes it. */
export type Method = MethodDefinition<unknown, unknown>;
/** How a handler of one answer gives it. */
export type Answer = (error: unknown, value?: unknown, trailer?: Metadata) => void;
/** A handler as grpc-js and Nest write it. What it returns is only looked at for its rejection. */
export type Handler = (call: unknown, answer?: Answer) => unknown;

/** What every call object offers. */
interface Surface {
  readonly metadata: Metadata;
  cancelled: boolean;
  /** Aborts when the client leaves or the deadline passes. */
  readonly signal: AbortSignal;
  getPath(): string;
  getHost(): string;
  getPeer(): string;
  /** In milliseconds since the epoch; Infinity without a deadline. */
  getDeadline(): number;
  getAuthContext(): { transportSecurityType?: string };
  sendMetadata(metadata: Metadata): void;
}

/** What a call object keeps for its surface. */
interface Kept {
  readonly wire: GrpcServerCall;
  cancelled: boolean;
  /** Made when they are first asked for. */
  madeMetadata: Metadata | undefined;
  abort: AbortController | undefined;
}

/** Shared by the prototypes of all kinds; made on demand, for most calls need little of it. */
export const surface: PropertyDescriptorMap & ThisType<Surface & Kept> = {
  metadata: {
    get(): Metadata {
      return (this.madeMetadata ??= metadataOf(this.wire.fields));
    },
  },
  signal: {
    get(): AbortSignal {
      if (this.abort === undefined) {
        this.abort = new AbortController();
        if (this.cancelled) this.abort.abort();
      }
      return this.abort.signal;
    },
  },
  getPath: {
    value(): string {
      return this.wire.path;
    },
  },
  getHost: {
    value(): string {
      return this.wire.stream.authority;
    },
  },
  getPeer: {
    value(): string {
      const { remoteAddress, remotePort } = this.wire.stream.socket;
      return remoteAddress === undefined ? 'unknown' : `${remoteAddress}:${remotePort}`;
    },
  },
  getDeadline: {
    value(): number {
      return this.wire.deadline;
    },
  },
  getAuthContext: {
    value(): { transportSecurityType?: string } {
      return 'encrypted' in this.wire.stream.socket ? { transportSecurityType: 'ssl' } : {};
    },
  },
  sendMetadata: {
    value(metadata: Metadata): void {
      this.wire.sendHeaders(fieldsOf(metadata));
    },
  },
};

/** The client is gone, or its deadline has passed: the handler is told in every way it may listen. */
export function cancel(call: EventEmitter & Kept, reason: string): void {
  call.cancelled = true;
  call.emit('cancelled', reason);
  call.abort?.abort(new Error(reason));
}

export function fail(wire: GrpcServerCall, error: unknown): void {
  const { code, message, metadata } = statusOf(error);
  wire.sendStatus(code, message, metadata);
}

/** Starts a handler; one that throws or rejects ends the call. */
export function start(wire: GrpcServerCall, handler: Handler, call: unknown, answer?: Answer): void {
  try {
    const returned = handler(call, answer);
    if (returned instanceof Promise) returned.catch((error: unknown) => fail(wire, error));
  } catch (error) {
    fail(wire, error);
  }
}

/** Sends the only message of an answer and its status. */
export function answerOnce(
  wire: GrpcServerCall,
  method: Method,
  error: unknown,
  value: unknown,
  trailer: Metadata | undefined,
): void {
  if (wire.ended) return;
  if (error !== null && error !== undefined) return fail(wire, error);
  const message = encode(wire, method, value);
  if (message === undefined) return;
  wire.sendMessage(message);
  wire.sendStatus(Status.OK, '', fieldsOf(trailer));
}

export function encode(wire: GrpcServerCall, method: Method, value: unknown): Buffer | undefined {
  try {
    return method.responseSerialize(value);
  } catch (error) {
    wire.sendStatus(Status.INTERNAL, `the answer cannot be serialized: ${(error as Error).message}`);
    return undefined;
  }
}

/** @returns undefined when the message is broken; the call has then ended. */
export function decode(wire: GrpcServerCall, method: Method, message: Buffer): { value: unknown } | undefined {
  try {
    return { value: method.requestDeserialize(message) };
  } catch (error) {
    wire.sendStatus(Status.INTERNAL, `the request cannot be read: ${(error as Error).message}`);
    return undefined;
  }
}
