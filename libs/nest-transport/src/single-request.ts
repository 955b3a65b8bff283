/** Calls with one request message: unary and server streaming. */
import { EventEmitter } from 'node:events';
import { Writable } from 'node:stream';
import type { Metadata } from '@grpc/grpc-js';
import { Status, type GrpcServerCall, type GrpcServerEvents } from '@sluice/wire';
import { Sender } from './sender.js';
import { answerOnce, cancel, decode, fail, start, surface, type Handler, type Method } from './surface.js';

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
  madeMetadata: Metadata | undefined;
  abort: AbortController | undefined;
  constructor(
    readonly wire: GrpcServerCall,
    readonly request: unknown,
  ) {
    super();
  }
}
Object.defineProperties(UnaryCall.prototype, surface);

class ServerStreamCall extends Writable {
  cancelled = false;
  madeMetadata: Metadata | undefined;
  abort: AbortController | undefined;
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
