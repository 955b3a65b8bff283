import type { Metadata } from '@grpc/grpc-js';
import { Status, type GrpcServerCall } from '@sluice/wire';
import { fieldsOf } from './metadata.js';
import { encode, type Method } from './surface.js';

/** The writing half of streaming answers: one message at a time, the next when the client can take it. */
export class Sender {
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
