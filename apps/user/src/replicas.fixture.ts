import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import {
  type ClientReadableStream,
  type ClientUnaryCall,
  credentials,
  loadPackageDefinition,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { protoRoot, type userV1 } from '@sluice/contract';
import { decodeStatusDetails, type ProblemDetails } from '@sluice/problem';
import { startService, type StartedService } from '@sluice/service';
import { createLogger } from '@sluice/telemetry';
import { freePort, startPostgres, type TestPostgres } from '@sluice/testing';
import pg from 'pg';
import { userService } from './user.service.js';

/** What a test says about who calls; what the gateway would say. */
export interface Identity {
  readonly subject?: string;
  readonly tenant?: string;
  readonly session?: string;
  readonly roles?: string;
  readonly guest?: string;
  readonly key?: string;
  readonly scope?: string;
  readonly authorization?: string;
  readonly 'client-ip'?: string;
  readonly cookie?: string;
  readonly origin?: string;
}

/** How a call failed. */
export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly details: ProblemDetails;
}

export interface Replica extends StartedService {
  /** Calls a method such as `UserService/Login`; throws {@link CallError}. */
  call<T = Record<string, never>>(
    method: string,
    request: object,
    identity?: Identity,
    deadlineMs?: number,
  ): Promise<T>;
  /** The same with the cookies that the answer sets; of a failure too, whose code it gives. */
  answer(method: string, request: object, identity?: Identity): Promise<{ cookies: string[]; code: string }>;
  /** Opens a server stream. */
  watch(method: string, request: object, identity?: Identity): ClientReadableStream<unknown>;
  readonly port: number;
  readonly adminPort: number;
}

export class CallError extends Error {
  constructor(readonly failure: Failure) {
    super(`${failure.code}: ${failure.message}`);
  }
}

const definition = loadPackageDefinition(
  loadSync(['sluice/user/v1/user.proto', 'sluice/account/v1/account.proto', 'sluice/machines/v1/machines.proto'], {
    keepCase: true,
    longs: String,
    enums: String,
    defaults: true,
    includeDirs: [protoRoot],
  }),
) as unknown as Record<'sluice', Record<'user' | 'account' | 'machines', { v1: Record<string, GrpcClientClass> }>>;
type GrpcClient = Record<string, (...parameters: unknown[]) => unknown> & { close(): void };
type GrpcClientClass = new (address: string, channel: unknown) => GrpcClient;

function classOf(service: string): GrpcClientClass {
  const { user, account, machines } = definition.sluice;
  return (user.v1[service] ?? account.v1[service] ?? machines.v1[service]) as GrpcClientClass;
}

/** A database and any number of replicas of the user service on it. */
export class UserSystem {
  private constructor(
    readonly postgres: TestPostgres,
    readonly replicas: readonly Replica[],
    private readonly pool: pg.Pool,
    readonly environment: NodeJS.ProcessEnv,
  ) {}

  /** @param settings on top of quick hashing, for every replica */
  static async start(replicaCount = 1, settings: Readonly<Record<string, string>> = {}): Promise<UserSystem> {
    const postgres = await startPostgres();
    const environment = testEnvironment(postgres.url, settings);
    const replicas = [];
    for (let index = 0; index < replicaCount; index++) replicas.push(await startReplicaOn(environment));
    const pool = new pg.Pool({ connectionString: postgres.url, max: 3, options: '-c search_path=identity' });
    // The server may be gone before the pool has closed its connections.
    pool.on('error', () => undefined);
    return new UserSystem(postgres, replicas, pool, environment);
  }

  /** One more replica on the same database, with settings of its own; to be stopped by the test. */
  static join(system: UserSystem, settings: Readonly<Record<string, string>>): Promise<Replica> {
    return startReplicaOn({ ...system.environment, ...settings });
  }

  get first(): Replica {
    return this.replica(0);
  }

  /** Round robin over the replicas. */
  replica(index: number): Replica {
    return this.replicas[index % this.replicas.length] as Replica;
  }

  async sql<Row>(text: string, values: unknown[] = []): Promise<Row[]> {
    return (await this.pool.query(text, values)).rows as Row[];
  }

  /** Statements of one transaction, which is rolled back at the end of `work`. */
  async within(work: (query: (text: string, values?: unknown[]) => Promise<unknown>) => Promise<void>): Promise<void> {
    const client = await this.pool.connect();
    try {
      await client.query('begin');
      await work((text, values) => client.query(text, values));
    } finally {
      await client.query('rollback');
      client.release();
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.replicas.map((replica) => replica.stop()));
    await this.pool.end();
    rmSync(dirname(this.environment['ADMIN_PASSWORD_FILE'] as string), { recursive: true, force: true });
    await this.postgres.stop();
  }
}

export function testEnvironment(url: string, settings: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  return {
    LOG_LEVEL: 'fatal',
    USER_DATABASE_URL: url,
    MASTER_KEY: randomBytes(32).toString('base64'),
    PASSWORD_MEMORY_KIB: '64',
    PASSWORD_PASSES: '1',
    PASSWORD_QUEUE_MS: '60000',
    ADMIN_PASSWORD_FILE: join(mkdtempSync(join(tmpdir(), 'sluice-user-')), 'admin-password'),
    ...settings,
  };
}

export async function startReplicaOn(environment: NodeJS.ProcessEnv): Promise<Replica> {
  const port = await freePort();
  const adminPort = await freePort();
  const service = userService({ ...environment, USER_PORT: String(port), USER_ADMIN_PORT: String(adminPort) });
  const started = await startService(service, createLogger('user', service.settings.LOG_LEVEL));
  const { answer, call, watch, close } = connect(`127.0.0.1:${port}`);
  return {
    port,
    adminPort,
    answer,
    call,
    watch,
    drain: started.drain,
    async stop() {
      close();
      await started.stop();
    },
  };
}

const plainNames = new Set(['cookie', 'origin', 'authorization']);

/** A client of a user service, as the gateway is one. */
export function connect(address: string): Pick<Replica, 'answer' | 'call' | 'watch'> & { close(): void } {
  const clients = new Map<string, GrpcClient>();
  const clientOf = (service: string) => {
    let client = clients.get(service);
    if (!client) {
      client = new (classOf(service))(address, credentials.createInsecure());
      clients.set(service, client);
    }
    return client;
  };
  const metadataOf = (identity: Identity) => {
    const metadata = new Metadata();
    for (const [key, value] of Object.entries(identity)) {
      metadata.set(plainNames.has(key) ? key : `x-sluice-${key}`, value);
    }
    return metadata;
  };
  return {
    watch: (path, request, identity = {}) => {
      const [service, method] = path.split('/') as [string, string];
      return clientOf(service)[method]?.(request, metadataOf(identity)) as ClientReadableStream<unknown>;
    },
    answer: (path, request, identity = {}) => {
      const [service, method] = path.split('/') as [string, string];
      return new Promise((resolve) => {
        let code = '';
        let cookies: string[] = [];
        const unary = clientOf(service)[method]?.(request, metadataOf(identity), (error: ServiceError | null) => {
          code = error ? failureOf(error).code : 'OK';
        }) as ClientUnaryCall;
        unary.on('metadata', (metadata) => (cookies = metadata.get('set-cookie').map(String)));
        unary.on('status', () => setImmediate(() => resolve({ cookies, code })));
      });
    },
    call: <T>(path: string, request: object, identity: Identity = {}, deadlineMs = Infinity) => {
      const [service, method] = path.split('/') as [string, string];
      return new Promise<T>((resolve, reject) => {
        const options = { deadline: Date.now() + deadlineMs };
        clientOf(service)[method]?.(request, metadataOf(identity), options, (error: ServiceError | null, answer: T) => {
          if (error) reject(new CallError(failureOf(error)));
          else resolve(answer);
        });
      });
    },
    close: () => {
      for (const client of clients.values()) client.close();
    },
  };
}

function failureOf(error: ServiceError): Failure {
  const bytes = error.metadata?.get('grpc-status-details-bin')[0];
  const problem = bytes instanceof Buffer ? decodeStatusDetails(bytes)?.problem : undefined;
  return { code: problem?.code ?? `gRPC ${error.code}`, message: error.details, details: problem?.details ?? {} };
}

/** The failure of a call that must fail. */
export async function failure(call: Promise<unknown>): Promise<Failure> {
  try {
    const answer = await call;
    throw new Error(`the call succeeded: ${JSON.stringify(answer)}`);
  } catch (error) {
    if (error instanceof CallError) return error.failure;
    throw error;
  }
}

let accounts = 0;

/** All messages of a server stream; throws {@link CallError}. */
export function messagesOf<T>(stream: ClientReadableStream<unknown>): Promise<T[]> {
  return new Promise((resolve, reject) => {
    const messages: T[] = [];
    stream.on('data', (message: T) => messages.push(message));
    stream.on('end', () => resolve(messages));
    stream.on('error', (error) => reject(new CallError(failureOf(error as ServiceError))));
  });
}

/** The administrator of the first start. */
export async function signInAdmin(system: UserSystem): Promise<Identity> {
  const password = readFileSync(system.environment['ADMIN_PASSWORD_FILE'] as string, 'utf8').trim();
  const login = { email: 'admin@sluice.local', password };
  return identityOf((await system.first.call<userV1.TokenResponse>('UserService/Login', login)).access_token);
}
/** What opens a session has a refresh token. */
export type SessionTokens = userV1.TokenResponse & { readonly refresh_token: string; readonly session_id: string };

/** A user of the default tenant with a session; `identity` is what the gateway would say of the session's token. */
export async function signIn(replica: Replica, password = 'correct horse battery') {
  const email = `user${++accounts}@example.com`;
  const { user } = await replica.call<{ user: userV1.User }>('UserService/Register', { email, password });
  const tokens = await replica.call<SessionTokens>('UserService/Login', { email, password });
  return { email, password, user, tokens, identity: identityOf(tokens.access_token) };
}

/** The claims of an access token. */
export function claimsOf(accessToken: string): Record<string, unknown> & { sub: string; sid: string; tid: string } {
  return JSON.parse(Buffer.from(accessToken.split('.')[1] as string, 'base64url').toString());
}

/** What the gateway says to a service about the holder of this token. */
export function identityOf(accessToken: string): Identity {
  const { sub, tid, sid, roles, guest } = claimsOf(accessToken);
  return {
    subject: sub,
    tenant: tid,
    session: sid,
    roles: (roles as string[]).join(','),
    ...(guest === true && { guest: 'true' }),
  };
}
