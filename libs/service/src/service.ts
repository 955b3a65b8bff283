import 'reflect-metadata';
import { type DynamicModule, type INestApplication, Module, type Type } from '@nestjs/common';
import { APP_INTERCEPTOR, NestFactory } from '@nestjs/core';
import type { MicroserviceOptions } from '@nestjs/microservices';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { Server } from '@grpc/grpc-js';
import type { PackageDefinition } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import { ConfigurationError, requireFreePort } from '@sluice/config';
import { protoRoot } from '@sluice/contract';
import { grpcMicroservice } from '@sluice/nest-transport';
import {
  AdminModule,
  createLogger,
  type Logger,
  nestLogger,
  type Readiness,
  Registry,
  runProcess,
} from '@sluice/telemetry';
import { HealthImplementation } from 'grpc-health-check';
import { type Caller, originReader } from './caller.js';
import { CallInterceptor, LOGGER, ORIGIN } from './call.interceptor.js';

/** The values of {@link serviceSettings}. */
interface CommonSettings {
  readonly LOG_LEVEL: Parameters<typeof createLogger>[1];
  readonly ADMIN_HOST: string;
  readonly SERVICE_HOST: string;
  readonly SHUTDOWN_DELAY_SECONDS: number;
  readonly SHUTDOWN_GRACE_SECONDS: number;
  readonly GATEWAY_SECRET: string | undefined;
  readonly GRPC_REFLECTION: boolean;
  readonly GRPC_SERVER: 'wire' | 'grpc-js';
}

/** What makes a process a Sluice gRPC service. */
export interface ServiceDefinition {
  /** The name in logs and metrics, for example `user`. */
  readonly name: string;
  /** Protobuf packages that are served and the files they are in, relative to proto/. */
  readonly packages: readonly { readonly name: string; readonly file: string }[];
  readonly grpcPort: number;
  readonly adminPort: number;
  readonly settings: CommonSettings;
  /** The module with the controllers. */
  readonly module: Type | DynamicModule;
  /** Who calls when nobody is signed in at the gateway; undefined: nobody, and what is not public is refused. */
  readonly everyone?: Caller | undefined;
  /** What must be reachable for the service to serve; asked at every `/readyz`. */
  readiness(app: INestApplication): Readiness;
}

/** Every option of proto-loader that gives messages the shape of the generated types. */
const loader = { keepCase: true, longs: String, enums: Number, defaults: true, oneofs: true, includeDirs: [protoRoot] };

const loopback = new Set(['127.0.0.1', '::1', 'localhost']);

/**
 * Starts the service: gRPC with health and reflection, the admin port, logs, metrics; and stops it on SIGTERM
 * and SIGINT once the calls in flight have finished or the grace is over. Ends the process with exit code 1
 * and a line that says why when it cannot start.
 *
 * @param define reads the settings and says what is to be served; a ConfigurationError becomes a clear message
 */
export async function runService(define: () => ServiceDefinition): Promise<void> {
  await runProcess(async () => {
    const definition = define();
    const { settings } = definition;
    if (settings.GATEWAY_SECRET === undefined && !loopback.has(settings.SERVICE_HOST)) {
      throw new ConfigurationError([
        `GATEWAY_SECRET is not set: expected a secret of at least 16 characters, since SERVICE_HOST=${settings.SERVICE_HOST} is not loopback`,
      ]);
    }
    const setting = (kind: string) => `${definition.name.toUpperCase()}_${kind}`;
    await requireFreePort(setting('PORT'), settings.SERVICE_HOST, definition.grpcPort);
    await requireFreePort(setting('ADMIN_PORT'), settings.ADMIN_HOST, definition.adminPort);
    const logger = createLogger(definition.name, settings.LOG_LEVEL);
    const delayMs = settings.SHUTDOWN_DELAY_SECONDS * 1000;
    return {
      logger,
      delayMs,
      graceMs: settings.SHUTDOWN_GRACE_SECONDS * 1000,
      ...(await startService(definition, logger)),
    };
  });
}

/** A service that answers. */
export interface StartedService {
  /** Says to the outside that no new work should come; at once. */
  drain(): void;
  /** Ends when everything in flight has. */
  stop(): Promise<void>;
}

/** What {@link runService} starts, without the process around it: several can run in one test. */
export async function startService(definition: ServiceDefinition, logger: Logger): Promise<StartedService> {
  const { settings } = definition;
  let draining = false;
  let ready: Readiness | undefined;
  const readiness: Readiness = {
    async check() {
      if (draining) return { [definition.name]: 'shutting down' };
      return ready ? ready.check() : { [definition.name]: 'starting' };
    },
  };
  const health = new HealthImplementation();
  const healthNames = ['', definition.name];
  const tellHealth = (status: 'SERVING' | 'NOT_SERVING') => {
    for (const name of healthNames) health.setStatus(name, status);
  };
  const app = await NestFactory.create(rootModule(definition, logger, readiness), new FastifyAdapter(), {
    logger: nestLogger(logger),
    abortOnError: false,
  });
  app.connectMicroservice<MicroserviceOptions>(
    grpcMicroservice(settings.GRPC_SERVER, {
      url: `${settings.SERVICE_HOST}:${definition.grpcPort}`,
      package: [...new Set(definition.packages.map((served) => served.name))],
      protoPath: definition.packages.map((served) => served.file),
      loader,
      gracefulShutdown: true,
      onLoadPackageDefinition: (served: PackageDefinition, server: Server) => {
        healthNames.push(...servicesOf(served, definition));
        tellHealth('NOT_SERVING');
        health.addToServer(server);
        if (settings.GRPC_REFLECTION) new ReflectionService(served).addToServer(server);
      },
    }),
    { inheritAppConfig: true },
  );
  // What the modules load at their start is there before a port of the service is: nothing listens before it can answer.
  await app.listen(definition.adminPort, settings.ADMIN_HOST);
  await app.startAllMicroservices();
  ready = definition.readiness(app);
  tellHealth('SERVING');
  logger.info({ grpc_port: definition.grpcPort, admin_port: definition.adminPort }, 'ready');
  return {
    drain() {
      draining = true;
      tellHealth('NOT_SERVING');
    },
    stop: () => app.close(),
  };
}

/** The full names of the services in the packages that are served: the files have messages, too, and what they import. */
function servicesOf(loaded: PackageDefinition, { packages }: ServiceDefinition): string[] {
  return Object.entries(loaded).flatMap(([name, declared]) => {
    const isService = !('format' in declared);
    return isService && packages.some((served) => name.startsWith(`${served.name}.`)) ? [name] : [];
  });
}

function rootModule(definition: ServiceDefinition, logger: Logger, readiness: Readiness): DynamicModule {
  const { settings } = definition;
  const originOf = originReader(settings.GATEWAY_SECRET, loopback.has(settings.SERVICE_HOST), definition.everyone);
  const providers = [
    { provide: LOGGER, useValue: logger },
    { provide: ORIGIN, useValue: originOf },
    { provide: APP_INTERCEPTOR, useClass: CallInterceptor },
  ];
  return {
    module: ServiceModule,
    global: true,
    imports: [AdminModule.with(readiness, new Registry()), definition.module],
    providers,
    exports: [LOGGER, ORIGIN],
  };
}

@Module({})
class ServiceModule {}
