import { once } from 'node:events';
import { createServer, type Server as Listener, type Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import type { ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import {
  GrpcServerCall,
  Http2Server,
  Status,
  type GrpcServerOptions,
  type Http2ServerCounters,
  type Http2ServerOptions,
  type ServerStream,
} from '@sluice/wire';
import { ClientStreamExchange, DuplexExchange } from './request-stream.js';
import { ServerStreamExchange, UnaryExchange } from './single-request.js';
import type { Handler, Method } from './surface.js';

export interface WireGrpcServerOptions {
  /** Bounds on what clients may do; every one has a default. */
  http2?: Http2ServerOptions;
  /** Largest message accepted, in bytes after decompression. Default: 4 MB, as in grpc-js. */
  maxReceiveMessageLength?: number;
  /** Compress messages for clients that accept it. */
  compression?: 'gzip';
  /** Key and certificate; without them the server speaks cleartext. */
  tls?: Pick<TlsOptions, 'key' | 'cert' | 'ca' | 'requestCert' | 'rejectUnauthorized' | 'minVersion'>;
}

const MESSAGE_BYTES_MAX = 4 * 1024 * 1024;
/** Longer than any call: shutdown waits for what runs. */
const FOREVER_MS = 2 ** 31 - 1;

/**
 * A gRPC server on @sluice/wire with the methods of grpc-js's `Server` that services use: `addService`, `tryShutdown`,
 * `forceShutdown`. What adds itself to a grpc-js server (health, reflection) adds itself to this one.
 */
export class WireGrpcServer {
  private readonly methods = new Map<string, { method: Method; handler: Handler }>();
  private readonly http2: Http2Server;
  private readonly listener: Listener;
  private readonly options: GrpcServerOptions;

  constructor(options: WireGrpcServerOptions = {}) {
    this.options = {
      maxMessageBytes: options.maxReceiveMessageLength ?? MESSAGE_BYTES_MAX,
      compression: options.compression,
    };
    this.http2 = new Http2Server((stream) => this.onRequest(stream), options.http2);
    const accept = (socket: Socket): void => void this.http2.accept(socket);
    this.listener =
      options.tls === undefined
        ? createServer(accept)
        : createTlsServer({ minVersion: 'TLSv1.2', ...options.tls, ALPNProtocols: ['h2'] }, accept);
  }

  /** What clients did, and which bounds they hit. */
  get counters(): Http2ServerCounters {
    return this.http2.counters;
  }

  /** @throws Error when a method is served already. */
  addService(service: ServiceDefinition, implementation: UntypedServiceImplementation): void {
    for (const [name, method] of Object.entries(service)) {
      const handler = implementation[name] ?? implementation[method.originalName ?? name];
      if (handler === undefined) continue;
      if (this.methods.has(method.path)) throw new Error(`${method.path} is served already`);
      this.methods.set(method.path, { method: method as Method, handler: (handler as Handler).bind(implementation) });
    }
  }

  /** Listens on `host:port`; port 0 takes a free one. @returns the port. */
  async listen(url: string): Promise<number> {
    const at = url.lastIndexOf(':');
    const host = url.slice(0, at).replace(/^\[|\]$/g, '');
    this.listener.listen(Number(url.slice(at + 1)), host);
    await once(this.listener, 'listening');
    const address = this.listener.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  /** Takes no new calls and calls back when those that run have ended. */
  tryShutdown(done: (error?: Error) => void): void {
    void this.shutDownThen(done);
  }

  /** Ends everything now. */
  forceShutdown(): void {
    void this.shutDown(0);
  }

  private async shutDownThen(done: () => void): Promise<void> {
    await this.shutDown(FOREVER_MS);
    done();
  }

  private shutDown(graceMs: number): Promise<void> {
    this.listener.close();
    return this.http2.close(graceMs);
  }

  private onRequest(stream: ServerStream): void {
    const served = this.methods.get(stream.path);
    const call = GrpcServerCall.accept(stream, this.options);
    if (call === undefined) return;
    if (served === undefined) {
      call.sendStatus(Status.UNIMPLEMENTED, `the server does not implement ${stream.path}`);
      return;
    }
    const { method, handler } = served;
    if (!method.requestStream) {
      call.events = new (method.responseStream ? ServerStreamExchange : UnaryExchange)(call, method, handler);
      return;
    }
    const exchange = new (method.responseStream ? DuplexExchange : ClientStreamExchange)(call, method, handler);
    call.events = exchange;
    exchange.begin();
  }
}
