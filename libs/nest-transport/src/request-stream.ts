/** Calls with a stream of request messages: client streaming and both ways. */
import { Duplex, Readable } from 'node:stream';
import type { Metadata } from '@grpc/grpc-js';
import type { GrpcServerCall, GrpcServerEvents } from '@sluice/wire';
import { Sender } from './sender.js';
import { answerOnce, cancel, decode, fail, start, surface, type Handler, type Method } from './surface.js';

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
  madeMetadata: Metadata | undefined;
  abort: AbortController | undefined;
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
  madeMetadata: Metadata | undefined;
  abort: AbortController | undefined;
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
