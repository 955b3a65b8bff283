import {
  credentials,
  loadPackageDefinition,
  Metadata,
  type ClientReadableStream,
  type ServiceError,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { protoRoot } from '@sluice/contract';
import { decodeStatusDetails, type ProblemDetails } from '@sluice/problem';
import { startService, type StartedService } from '@sluice/service';
import { createLogger } from '@sluice/telemetry';
import { freePort, startPostgres, type TestPostgres } from '@sluice/testing';
import pg from 'pg';
import { allocatorService } from './allocator.service.js';

/** What a test says about who calls; what the gateway would say. */
export interface Identity {
  readonly subject: string;
  readonly tenant: string;
  readonly roles?: string;
  readonly guest?: string;
  readonly unverified?: string;
  /** The service that calls for them. */
  readonly service?: string;
  /** The account of their key or token. */
  readonly account?: string;
}

export const alice: Identity = { subject: 'alice', tenant: 'acme' };
export const admin: Identity = { subject: 'root', tenant: 'acme', roles: 'admin' };

/** How a call failed. */
export class CallError extends Error {
  constructor(
    readonly code: string,
    readonly detail: string,
    readonly details: ProblemDetails,
  ) {
    super(`${code}: ${detail}`);
  }
}

/** An allocation as a client sees it. */
export interface AllocationMessage {
  readonly request_id: string;
  readonly node_id: string;
  readonly token_count: string;
  readonly state: string;
  readonly strategy: string;
  readonly settled: string;
  readonly expires_at: { readonly seconds: string } | null;
  readonly tenant?: string;
  readonly subject?: string;
  readonly force_free_reason?: string;
  readonly account: string;
  readonly cost_micros: string;
  readonly settled_cost_micros: string;
  readonly warnings: readonly { readonly account: string; readonly limit_id: string; readonly used: string }[];
}

type Method = (...parameters: unknown[]) => unknown;
type GrpcClient = Record<string, Method> & { close(): void };

const definition = loadPackageDefinition(
  loadSync(['sluice/allocator/v1/allocator.proto', 'sluice/allocator/v1/budget.proto'], {
    keepCase: true,
    longs: String,
    enums: String,
    defaults: true,
    includeDirs: [protoRoot],
  }),
) as unknown as {
  sluice: {
    allocator: {
      v1: Record<'AllocatorService' | 'BudgetService', new (address: string, channel: unknown) => GrpcClient>;
    };
  };
};

/** A client of an allocator, as the gateway is one. */
export class AllocatorClient {
  private readonly client: GrpcClient;
  private readonly budget: GrpcClient;

  constructor(address: string) {
    const { AllocatorService, BudgetService } = definition.sluice.allocator.v1;
    this.client = new AllocatorService(address, credentials.createInsecure());
    this.budget = new BudgetService(address, credentials.createInsecure());
  }

  /** Calls a method such as `allocate`. @throws CallError */
  call<T = AllocationMessage>(method: string, request: object, identity = alice, deadlineMs?: number): Promise<T> {
    const options = deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs };
    return new Promise<T>((resolve, reject) => {
      const client = method in this.budget ? this.budget : this.client;
      client[method]?.(request, metadataOf(identity), options, (error: ServiceError | null, answer: T) => {
        if (error) reject(callError(error));
        else resolve(answer);
      });
    });
  }

  stream(method: string, request: object, identity = alice): ClientReadableStream<unknown> {
    return this.client[method]?.(request, metadataOf(identity)) as ClientReadableStream<unknown>;
  }

  close(): void {
    this.client.close();
    this.budget.close();
  }
}

function metadataOf(identity: Identity): Metadata {
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(identity)) metadata.set(`x-sluice-${key}`, value as string);
  return metadata;
}

function callError(error: ServiceError): CallError {
  const bytes = error.metadata?.get('grpc-status-details-bin')[0];
  const problem = bytes instanceof Buffer ? decodeStatusDetails(bytes)?.problem : undefined;
  return new CallError(problem?.code ?? `gRPC ${error.code}`, error.details, problem?.details ?? {});
}

export interface Replica extends StartedService {
  readonly client: AllocatorClient;
  readonly port: number;
  readonly adminPort: number;
}

/** A database and any number of replicas of the allocator on it. */
export class AllocatorSystem {
  private constructor(
    readonly postgres: TestPostgres,
    readonly replicas: readonly Replica[],
    readonly pool: pg.Pool,
  ) {}

  static async start(replicaCount = 1, settings: Readonly<Record<string, string>> = {}): Promise<AllocatorSystem> {
    const postgres = await startPostgres();
    const environment = { LOG_LEVEL: 'fatal', ALLOCATOR_DATABASE_URL: postgres.url, ...settings };
    const replicas = [];
    for (let index = 0; index < replicaCount; index++) replicas.push(await startReplica(environment));
    const pool = new pg.Pool({ connectionString: postgres.url, max: 4, options: '-c search_path=budget' });
    // An idle connection may hear of the server's end before its own.
    pool.on('error', () => undefined);
    return new AllocatorSystem(postgres, replicas, pool);
  }

  /** Round robin over the replicas. */
  client(index = 0): AllocatorClient {
    return (this.replicas[index % this.replicas.length] as Replica).client;
  }

  async sql<Row>(text: string, values: unknown[] = []): Promise<Row[]> {
    return (await this.pool.query(text, values)).rows as Row[];
  }

  async stop(): Promise<void> {
    await Promise.all(this.replicas.map((replica) => replica.stop()));
    await this.pool.end();
    await this.postgres.stop();
  }
}

export async function startReplica(environment: NodeJS.ProcessEnv): Promise<Replica> {
  const port = await freePort();
  const adminPort = await freePort();
  const ports = { ALLOCATOR_PORT: String(port), ALLOCATOR_ADMIN_PORT: String(adminPort), DEFAULT_TENANT: 'acme' };
  const service = allocatorService({ ...environment, ...ports });
  const started = await startService(service, createLogger('allocator', service.settings.LOG_LEVEL));
  const client = new AllocatorClient(`127.0.0.1:${port}`);
  return {
    port,
    adminPort,
    client,
    drain: started.drain,
    async stop() {
      client.close();
      await started.stop();
    },
  };
}

/** The failure of a call that must fail. */
export async function failure(call: Promise<unknown>): Promise<CallError> {
  const answer = await call.catch((error: unknown) => error);
  if (answer instanceof CallError) return answer;
  throw new Error(`the call did not fail as a call: ${JSON.stringify(answer)}`, { cause: answer });
}
