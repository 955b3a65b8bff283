import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { type Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { ClientGrpcProxy } from '@nestjs/microservices';
import { type allocatorV1, protoRoot } from '@sluice/contract';
import { Problem, problemFromStatus } from '@sluice/problem';
import { type Call, outgoingMetadata } from '@sluice/service';
import type { Logger } from '@sluice/telemetry';
import type { Observable } from 'rxjs';
import { firstValueFrom } from 'rxjs';

/** Tokens that were reserved for one reply. Exactly one of its methods ends it. */
export interface Reservation {
  readonly tokens: number;
  /** Pays for what was used; the rest returns. More than was reserved is not charged. @returns what was settled */
  settle(tokensUsed: number): Promise<number>;
  /** Returns everything. */
  free(): Promise<void>;
}

interface BudgetOptions {
  readonly addresses: readonly string[];
  /** Proves postcard to the allocator. */
  readonly secret: string | undefined;
  readonly leaseSeconds: number;
  readonly logger: Logger;
}

/** The generated client, whose methods also take the options of grpc-js. */
type Method<Request> = (
  request: Request,
  metadata: Metadata,
  options: { deadline: number },
) => Observable<allocatorV1.Allocation>;
interface Client {
  allocate: Method<allocatorV1.AllocateRequest>;
  settle: Method<allocatorV1.SettleRequest>;
  free: Method<allocatorV1.FreeRequest>;
}

const loader = { keepCase: true, longs: String, enums: Number, defaults: true, oneofs: true, includeDirs: [protoRoot] };
/** A caller without a deadline waits for a reservation this long. */
const RESERVE_MS = 5_000;
/** Ending a reservation has a time of its own: the caller may have left. */
const END_MS = 3_000;
const END_WAITS_MS = [100, 400, 1600] as const;

/** When to ask again, where the allocator knows of no lease that ends: somebody may free tokens or add a node. */
const WAIT_UNKNOWN_MS = 30_000;

/** Reserves tokens at the allocator for the caller of a message, and settles or frees them. */
@Injectable()
export class Budget implements OnApplicationShutdown {
  private readonly proxies: readonly ClientGrpcProxy[];
  private readonly clients: readonly Client[];
  private turn = 0;

  constructor(private readonly options: BudgetOptions) {
    this.proxies = options.addresses.map(
      (url) =>
        new ClientGrpcProxy({
          url,
          package: 'sluice.allocator.v1',
          protoPath: 'sluice/allocator/v1/allocator.proto',
          loader,
        }),
    );
    this.clients = this.proxies.map((proxy) => proxy.getService<Client>('AllocatorService'));
  }

  /** @throws Problem as the allocator gave it: BUDGET_EXHAUSTED with `blocked_by` and the wait, or UNAVAILABLE */
  async reserve(call: Call, tokens: number): Promise<Reservation> {
    const metadata = outgoingMetadata(call, 'postcard', this.options.secret);
    const request_id = `postcard-${randomUUID()}`;
    const deadline = Math.min(call.deadline ?? Number.POSITIVE_INFINITY, Date.now() + RESERVE_MS);
    const request = {
      request_id,
      token_count: String(tokens),
      ttl_seconds: String(this.options.leaseSeconds),
      ...unsaid,
    };
    try {
      await firstValueFrom(this.client().allocate(request, metadata, { deadline }));
    } catch (error) {
      const { code, details, metadata: trailers } = error as ServiceError;
      // It may have been reserved although nobody said so.
      if (code !== status.RESOURCE_EXHAUSTED)
        void this.end(request_id, (client, options) => client.free({ request_id }, metadata, options));
      const [bytes] = trailers?.get('grpc-status-details-bin') ?? [];
      throw withWait(problemFromStatus(code, details, bytes instanceof Buffer ? bytes : undefined));
    }
    return {
      tokens,
      settle: async (tokensUsed) => {
        const used = Math.min(tokens, Math.max(1, tokensUsed));
        const token_count = String(used);
        await this.end(request_id, (client, options) => client.settle({ request_id, token_count }, metadata, options));
        return used;
      },
      free: () => this.end(request_id, (client, options) => client.free({ request_id }, metadata, options)),
    };
  }

  onApplicationShutdown(): void {
    for (const proxy of this.proxies) proxy.close();
  }

  /** The allocators in turn. */
  private client(): Client {
    this.turn = (this.turn + 1) % this.clients.length;
    return this.clients[this.turn]!;
  }

  /** Settles or frees, trying again: both give the same answer twice. Should all fail, the lease returns the tokens. */
  private async end(
    requestId: string,
    attempt: (client: Client, options: { deadline: number }) => Observable<allocatorV1.Allocation>,
  ): Promise<void> {
    for (const waitMs of [...END_WAITS_MS, undefined]) {
      try {
        await firstValueFrom(attempt(this.client(), { deadline: Date.now() + END_MS }));
        return;
      } catch (error) {
        const { code } = error as ServiceError;
        if (code === status.NOT_FOUND) return;
        const again = code === status.UNAVAILABLE || code === status.DEADLINE_EXCEEDED || code === status.ABORTED;
        if (again && waitMs !== undefined) {
          await delay(waitMs);
          continue;
        }
        this.options.logger.error({ err: error, request_id: requestId }, 'a reservation is left to its lease');
        return;
      }
    }
  }
}

/** Charged to the caller's own account, on the usual nodes. */
const unsaid = { account: '', pool: '', cost_micros: '0', labels: {} } as const;

/** A spent budget always says when to ask again. */
function withWait(problem: Problem): Problem {
  const { code, details, message } = problem;
  if (code !== 'BUDGET_EXHAUSTED' || details['retry_after_ms'] !== undefined) return problem;
  if (details['should_retry'] === false) return problem;
  return new Problem(code, message, { details: { ...details, retry_after_ms: WAIT_UNKNOWN_MS } });
}
