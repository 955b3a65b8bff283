/**
 * The call objects that handlers get, shaped as those of grpc-js (`ServerUnaryCall` and so on), so that Nest's gRPC
 * transport and everything written for it works on them unchanged. Beyond those they have `signal`.
 */
import { EventEmitter } from 'node:events';
import { Duplex, Readable, Writable } from 'node:stream';
import type { Metadata, MethodDefinition } from '@grpc/grpc-js';
import { Status, type GrpcServerCall, type GrpcServerEvents } from '@sluice/wire';
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

interface HasWire extends Surface {
  readonly wire: GrpcServerCall;
}

const knownMetadata = new WeakMap<GrpcServerCall, Metadata>();
const aborts = new WeakMap<GrpcServerCall, AbortController>();

/** Shared by the prototypes of all kinds; made on demand, for most calls need little of it. */
const surface: PropertyDescriptorMap & ThisType<HasWire> = {
  metadata: {
    get(): Metadata {
      let metadata = knownMetadata.get(this.wire);
      if (metadata === undefined) knownMetadata.set(this.wire, (metadata = metadataOf(this.wire.fields)));
      return metadata;
    },
  },
  signal: {
    get(): AbortSignal {
      let controller = aborts.get(this.wire);
      if (controller === undefined) {
        aborts.set(this.wire, (controller = new AbortController()));
        if (this.cancelled) controller.abort();
      }
      return controller.signal;
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
function cancel(call: EventEmitter & { cancelled: boolean; readonly wire: GrpcServerCall }, reason: string): void {
  call.cancelled = true;
  call.emit('cancelled', reason);
  aborts.get(call.wire)?.abort(new Error(reason));
}

function fail(wire: GrpcServerCall, error: unknown): void {
  const { code, message, metadata } = statusOf(error);
  wire.sendStatus(code, message, metadata);
}

/** Starts a handler; one that throws or rejects ends the call. */
function start(wire: GrpcServerCall, handler: Handler, call: unknown, answer?: Answer): void {
  try {
    const returned = handler(call, answer);
    if (returned instanceof Promise) returned.catch((error: unknown) => fail(wire, error));
  } catch (error) {
    fail(wire, error);
  }
}

/** Sends the only message of an answer and its status. */
function answerOnce(
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

function encode(wire: GrpcServerCall, method: Method, value: unknown): Buffer | undefined {
  try {
    return method.responseSerialize(value);
  } catch (error) {
    wire.sendStatus(Status.INTERNAL, `the answer cannot be serialized: ${(error as Error).message}`);
    return undefined;
  }
}

/** @returns undefined when the message is broken; the call has then ended. */
function decode(wire: GrpcServerCall, method: Method, message: Buffer): { value: unknown } | undefined {
  try {
    return { value: method.requestDeserialize(message) };
  } catch (error) {
    wire.sendStatus(Status.INTERNAL, `the request cannot be read: ${(error as Error).message}`);
    return undefined;
  }
}

/** The single request message of unary and server-streaming calls; the handler starts when the client has finished. */
abstract class SingleRequest implements GrpcServerEvents {
  private message: Buffer | undefined;

  constructor(
    protected readonly wire: GrpcServerCall,
    protected readonly method: Method,
    protected readonly handler: Handler,
  ) {}

  protected abstract begin(request: unknown): void;
  abstract onCancel(reason: string): void;

  onMessage(message: Buffer): void {
    if (this.message === undefined) this.message = message;
    else this.wire.sendStatus(Status.UNIMPLEMENTED, 'more than one request message');
  }

  onHalfClose(): void {
    if (this.message === undefined) return this.wire.sendStatus(Status.UNIMPLEMENTED, 'no request message');
    const request = decode(this.wire, this.method, this.message);
    if (request !== undefined) this.begin(request.value);
  }
}

export class UnaryExchange extends SingleRequest {
  private call: UnaryCall | undefined;

  protected override begin(request: unknown): void {
    const { wire, method } = this;
    this.call = new UnaryCall(wire, request);
    start(wire, this.handler, this.call, (error, value, trailer) => answerOnce(wire, method, error, value, trailer));
  }

  override onCancel(reason: string): void {
    if (this.call !== undefined) cancel(this.call, reason);
  }
}

export class ServerStreamExchange extends SingleRequest {
  private call: ServerStreamCall | undefined;

  protected override begin(request: unknown): void {
    this.call = new ServerStreamCall(this.wire, this.method, request);
    start(this.wire, this.handler, this.call);
  }

  onDrain(): void {
    this.call?.drained();
  }

  override onCancel(reason: string): void {
    if (this.call === undefined) return;
    cancel(this.call, reason);
    this.call.destroy();
  }
}

class UnaryCall extends EventEmitter {
  cancelled = false;
  constructor(
    readonly wire: GrpcServerCall,
    readonly request: unknown,
  ) {
    super();
  }
}
Object.defineProperties(UnaryCall.prototype, surface);

/** The writing half of streaming answers: one message at a time, the next when the client can take it. */
class Sender {
  private waiting: (() => void) | undefined;
  trailers: Metadata | undefined;

  constructor(
    private readonly wire: GrpcServerCall,
    private readonly method: Method,
  ) {}

  send(value: unknown, done: () => void): void {
    const message = this.wire.ended ? undefined : encode(this.wire, this.method, value);
    if (message === undefined || this.wire.sendMessage(message)) done();
    else this.waiting = done;
  }

  drained(): void {
    const { waiting } = this;
    this.waiting = undefined;
    waiting?.();
  }

  finish(): void {
    this.wire.sendStatus(Status.OK, '', fieldsOf(this.trailers));
  }
}

class ServerStreamCall extends Writable {
  cancelled = false;
  private readonly sender: Sender;

  constructor(
    readonly wire: GrpcServerCall,
    method: Method,
    readonly request: unknown,
  ) {
    super({ objectMode: true });
    this.sender = new Sender(wire, method);
    this.on('error', (error) => fail(wire, error));
  }

  override _write(value: unknown, _encoding: string, done: () => void): void {
    this.sender.send(value, done);
  }

  override _final(done: () => void): void {
    this.sender.finish();
    done();
  }

  /** As in grpc-js: an argument is the trailing metadata. */
  override end(trailers?: unknown): this {
    if (typeof trailers === 'object' && trailers !== null) this.sender.trailers = trailers as Metadata;
    return super.end();
  }

  drained(): void {
    this.sender.drained();
  }
}
Object.defineProperties(ServerStreamCall.prototype, surface);

/** Calls whose handler starts at once and reads messages as they come. */
export class ClientStreamExchange implements GrpcServerEvents {
  private readonly call: ClientStreamCall;

  constructor(
    private readonly wire: GrpcServerCall,
    private readonly method: Method,
    private readonly handler: Handler,
  ) {
    this.call = new ClientStreamCall(wire);
  }

  begin(): void {
    const { wire, method } = this;
    start(wire, this.handler, this.call, (error, value, trailer) => answerOnce(wire, method, error, value, trailer));
  }

  onMessage(message: Buffer): void {
    const request = decode(this.wire, this.method, message);
    if (request !== undefined && !this.call.push(request.value)) this.wire.pause();
  }

  onHalfClose(): void {
    this.call.push(null);
  }

  onCancel(reason: string): void {
    cancel(this.call, reason);
    this.call.destroy();
  }
}

class ClientStreamCall extends Readable {
  cancelled = false;
  constructor(readonly wire: GrpcServerCall) {
    super({ objectMode: true });
  }

  override _read(): void {
    this.wire.resume();
  }

  /** Nest ends every call whose request stream failed; here the status does that. */
  end(): void {}
}
Object.defineProperties(ClientStreamCall.prototype, surface);

export class DuplexExchange implements GrpcServerEvents {
  private readonly call: DuplexCall;

  constructor(
    private readonly wire: GrpcServerCall,
    private readonly method: Method,
    private readonly handler: Handler,
  ) {
    this.call = new DuplexCall(wire, method);
  }

  begin(): void {
    start(this.wire, this.handler, this.call);
  }

  onMessage(message: Buffer): void {
    const request = decode(this.wire, this.method, message);
    if (request !== undefined && !this.call.push(request.value)) this.wire.pause();
  }

  onHalfClose(): void {
    this.call.push(null);
  }

  onDrain(): void {
    this.call.drained();
  }

  onCancel(reason: string): void {
    cancel(this.call, reason);
    this.call.destroy();
  }
}

class DuplexCall extends Duplex {
  cancelled = false;
  private readonly sender: Sender;

  constructor(
    readonly wire: GrpcServerCall,
    method: Method,
  ) {
    super({ objectMode: true });
    this.sender = new Sender(wire, method);
    this.on('error', (error) => fail(wire, error));
  }

  override _read(): void {
    this.wire.resume();
  }

  override _write(value: unknown, _encoding: string, done: () => void): void {
    this.sender.send(value, done);
  }

  override _final(done: () => void): void {
    this.sender.finish();
    done();
  }

  override end(trailers?: unknown): this {
    if (typeof trailers === 'object' && trailers !== null) this.sender.trailers = trailers as Metadata;
    return super.end();
  }

  drained(): void {
    this.sender.drained();
  }
}
Object.defineProperties(DuplexCall.prototype, surface);
