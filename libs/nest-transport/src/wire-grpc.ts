import { ServerGrpc, Transport, type GrpcOptions, type MicroserviceOptions } from '@nestjs/microservices';
import { WireGrpcServer, type WireGrpcServerOptions } from './grpc-server.js';

/** Nest's own options of a gRPC microservice, and the server's. */
export type WireGrpcOptions = GrpcOptions['options'] & { wire?: WireGrpcServerOptions };

/**
 * Nest's gRPC transport on @sluice/wire. Handlers (`@GrpcMethod`, `@GrpcStreamMethod`, `@GrpcStreamCall`), guards, pipes,
 * interceptors and exception filters work as on Nest's own; only the server underneath is another one.
 *
 * ```ts
 * app.connectMicroservice({ strategy: new WireGrpc({ url: '0.0.0.0:50051', package: 'a.b.v1', protoPath: 'a.proto' }) });
 * ```
 */
export class WireGrpc extends ServerGrpc {
  private server: WireGrpcServer | undefined;
  /** The port that is listened on, also when the URL said 0. */
  port = 0;

  constructor(private readonly wireOptions: WireGrpcOptions) {
    super(wireOptions);
  }

  /** What clients did, and which bounds they hit; undefined before the server listens. */
  get counters(): WireGrpcServer['counters'] | undefined {
    return this.server?.counters;
  }

  override async createClient(): Promise<WireGrpcServer> {
    const { maxReceiveMessageLength, wire } = this.wireOptions;
    const server = new WireGrpcServer({ maxReceiveMessageLength, ...wire });
    this.server = server;
    return server;
  }

  /** Listens only when everything is there that can be called. */
  override async bindEvents(): Promise<void> {
    await super.bindEvents();
    if (this.server) this.port = await this.server.listen(this.url);
  }
}

/** The options of a gRPC microservice on the server of choice: `wire`, or Nest's own on `grpc-js`. */
export function grpcMicroservice(kind: 'wire' | 'grpc-js', options: WireGrpcOptions): MicroserviceOptions {
  const { wire: _wire, ...own } = options;
  return kind === 'wire' ? { strategy: new WireGrpc(options) } : { transport: Transport.GRPC, options: own };
}
