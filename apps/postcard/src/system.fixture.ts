import {
  credentials,
  loadPackageDefinition,
  Metadata,
  Server,
  ServerCredentials,
  type ClientReadableStream,
  type sendUnaryData,
  type ServerUnaryCall,
  type ServiceDefinition,
  type ServiceError,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { type allocatorV1, type postcardV1, protoRoot } from '@sluice/contract';
import { encodeStatusDetails, grpcCodes, Problem, problemFromStatus, problems } from '@sluice/problem';
import { startService, type StartedService } from '@sluice/service';
import { createLogger } from '@sluice/telemetry';
import { freePort, startPostgres, type TestPostgres } from '@sluice/testing';
import pg from 'pg';
import { postcardService } from './postcard.service.js';

const loader = { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true, includeDirs: [protoRoot] };
const definition = loadPackageDefinition(
  loadSync(['sluice/postcard/v1/postcard.proto', 'sluice/allocator/v1/allocator.proto'], loader),
) as unknown as {
  sluice: {
    postcard: { v1: { PostcardService: new (address: string, channel: unknown) => GrpcClient } };
    allocator: { v1: { AllocatorService: { service: ServiceDefinition } } };
  };
};
type GrpcClient = Record<string, (...parameters: unknown[]) => unknown> & { close(): void };

/** What was asked of the allocator, and what it holds. */
export class AllocatorPeer {
  /** Reserved and neither settled nor freed. */
  readonly held = new Map<string, number>();
  readonly settled = new Map<string, number>();
  readonly calls: { method: string; metadata: Metadata; request: object }[] = [];
  capacity = Number.POSITIVE_INFINITY;
  /** What a refusal says of the wait; undefined: nothing. */
  retryAfterMs: number | undefined = 1500;
  /** Answers the next calls of a method with UNAVAILABLE. */
  readonly failNext = new Map<string, number>();
  private readonly server = new Server();
  address = '';

  static async start(): Promise<AllocatorPeer> {
    const peer = new AllocatorPeer();
    peer.server.addService(definition.sluice.allocator.v1.AllocatorService.service, {
      Allocate: peer.method('Allocate', (request) => peer.allocate(request)),
      Settle: peer.method('Settle', ({ request_id, token_count }) => {
        if (peer.held.delete(request_id)) peer.settled.set(request_id, Number(token_count));
      }),
      Free: peer.method('Free', ({ request_id }) => void peer.held.delete(request_id)),
    });
    const port = await new Promise<number>((resolve, reject) =>
      peer.server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      ),
    );
    peer.address = `127.0.0.1:${port}`;
    return peer;
  }

  stop(): void {
    this.server.forceShutdown();
  }

  private allocate({ request_id, token_count }: allocatorV1.AllocateRequest): void {
    const used = [...this.held.values(), ...this.settled.values()].reduce((sum, tokens) => sum + tokens, 0);
    if (used + Number(token_count) > this.capacity) {
      const wait = this.retryAfterMs;
      const details = { blocked_by: 'budget', ...(wait !== undefined && { retry_after_ms: wait }) };
      throw new Problem('BUDGET_EXHAUSTED', '', { details });
    }
    this.held.set(request_id, Number(token_count));
  }

  private method(name: string, work: (request: allocatorV1.AllocateRequest) => void) {
    return (call: ServerUnaryCall<allocatorV1.AllocateRequest, object>, answer: sendUnaryData<object>) => {
      this.calls.push({ method: name, metadata: call.metadata, request: call.request });
      try {
        const failures = this.failNext.get(name) ?? 0;
        this.failNext.set(name, failures - 1);
        if (failures > 0) throw new Problem('UNAVAILABLE');
        work(call.request);
        answer(null, call.request);
      } catch (error) {
        const problem = error as Problem;
        const metadata = new Metadata();
        metadata.set('grpc-status-details-bin', Buffer.from(encodeStatusDetails(problem)));
        answer({ code: grpcCodes[problem.grpc].number, details: problems[problem.code].title, metadata });
      }
    };
  }
}

export interface Reply {
  readonly text: string;
  readonly receipt: postcardV1.Receipt | undefined;
  readonly problem: Problem | undefined;
}

/** Postcard on a Postgres of its own, with a peer in the allocator's place. */
export class PostcardSystem {
  private constructor(
    readonly postgres: TestPostgres,
    readonly allocator: AllocatorPeer,
    private service: StartedService,
    private client: GrpcClient,
    private readonly settings: Readonly<Record<string, string>>,
    private readonly database: pg.Client,
  ) {}

  static async start(settings: Readonly<Record<string, string>> = {}): Promise<PostcardSystem> {
    const postgres = await startPostgres();
    const allocator = await AllocatorPeer.start();
    const all = {
      LOG_LEVEL: 'fatal',
      POSTCARD_DATABASE_URL: postgres.url,
      ALLOCATOR_ADDRESS: allocator.address,
      MODEL_TOKENS_PER_SECOND: '100000',
      ...settings,
    };
    const { service, client } = await start(all);
    const database = new pg.Client({ connectionString: postgres.url, options: '-c search_path=postcard' });
    await database.connect();
    return new PostcardSystem(postgres, allocator, service, client, all, database);
  }

  async restart(changes: Readonly<Record<string, string>> = {}): Promise<void> {
    this.client.close();
    await this.service.stop();
    const { service, client } = await start({ ...this.settings, ...changes });
    this.service = service;
    this.client = client;
  }

  /** @throws Problem */
  call<T>(method: string, request: object, subject = 'alice', tenant = 't1'): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.client[method]!(request, identity(subject, tenant), (error: ServiceError | null, answer: T) =>
        error ? reject(problemOf(error)) : resolve(answer),
      );
    });
  }

  open(subject = 'alice'): Promise<postcardV1.Session> {
    return this.call('CreateSession', {}, subject);
  }

  stream(
    session_id: string,
    text: string,
    subject = 'alice',
    options = {},
  ): ClientReadableStream<postcardV1.ReplyPart> {
    const metadata = identity(subject, 't1');
    return this.client['SendMessage']!(
      { session_id, text },
      metadata,
      options,
    ) as ClientReadableStream<postcardV1.ReplyPart>;
  }

  /** Sends a message and reads the reply to its end. */
  send(sessionId: string, text: string, subject = 'alice'): Promise<Reply> {
    return new Promise((resolve) => {
      const parts: postcardV1.ReplyPart[] = [];
      const end = (problem?: Problem) => {
        const receipt = parts.find((part) => part.receipt)?.receipt;
        resolve({ text: parts.map((part) => part.text ?? '').join(''), receipt, problem });
      };
      this.stream(sessionId, text, subject)
        .on('data', (part: postcardV1.ReplyPart) => parts.push(part))
        .on('error', (error: ServiceError) => end(problemOf(error)))
        .on('end', () => end());
    });
  }

  async sql<Row>(text: string, values: unknown[] = []): Promise<Row[]> {
    return (await this.database.query(text, values)).rows as Row[];
  }

  /** A pool ends before its connections do; what the server says to those would be an error that nobody listens for. */
  private async connectionsClosed(): Promise<void> {
    const open = `select from pg_stat_activity where application_name = 'sluice-postcard'`;
    while ((await this.sql(open)).length > 0) await new Promise((resolve) => setTimeout(resolve, 10));
  }

  async stop(): Promise<void> {
    this.client.close();
    await this.service.stop();
    this.allocator.stop();
    await this.connectionsClosed();
    await this.database.end();
    await this.postgres.stop();
  }
}

async function start(settings: NodeJS.ProcessEnv): Promise<{ service: StartedService; client: GrpcClient }> {
  const port = await freePort();
  const ports = { POSTCARD_PORT: String(port), POSTCARD_ADMIN_PORT: String(await freePort()) };
  const described = postcardService({ ...settings, ...ports });
  const service = await startService(described, createLogger('postcard', described.settings.LOG_LEVEL));
  const { PostcardService } = definition.sluice.postcard.v1;
  return { service, client: new PostcardService(`127.0.0.1:${port}`, credentials.createInsecure()) };
}

function identity(subject: string, tenant: string): Metadata {
  const metadata = new Metadata();
  metadata.set('x-sluice-subject', subject);
  metadata.set('x-sluice-tenant', tenant);
  return metadata;
}

function problemOf(error: ServiceError): Problem {
  const bytes = error.metadata?.get('grpc-status-details-bin')[0];
  return problemFromStatus(error.code, error.details, bytes instanceof Buffer ? bytes : undefined);
}
