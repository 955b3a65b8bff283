import { Problem } from '@sluice/problem';
import type { MethodInfo } from '@sluice/transcode';
import type { OwnAnswer, OwnCall, OwnMethod } from './grpc-call.js';
import { decode, encode, type OwnGrpcMethod, ownMethod } from './own-services.js';

/** Values of `grpc.health.v1.HealthCheckResponse.ServingStatus`. */
const ServingStatus = { UNKNOWN: 0, SERVING: 1, NOT_SERVING: 2, SERVICE_UNKNOWN: 3 } as const;
type ServingStatus = (typeof ServingStatus)[keyof typeof ServingStatus];

/** Names of the gateway itself, where no upstream has them. */
const OWN: ReadonlySet<string> = new Set(['', 'gateway', 'sluice.gateway.v1.GatewayService']);

/** What is watched is looked at so often, in milliseconds; the services are asked once a second at most, however many watch. */
const LOOK_MS = 2000;
/** So many may watch at once, of all clients together. */
const WATCHERS_MAX = 200;

/** What is known of the gateway and the services behind it. */
export interface Serving {
  /** The upstream of each service that is served, by its full name. */
  readonly upstreamOf: ReadonlyMap<string, string>;
  /** Of the upstreams, each of which is known by its own name as well. */
  readonly names: ReadonlySet<string>;
  /** `SERVING`, or why not, by upstream. */
  readonly upstreams: () => Promise<Readonly<Record<string, string>>>;
  /** The gateway takes calls; false while it shuts down. */
  readonly takesCalls: () => boolean;
}

/**
 * `grpc.health.v1.Health` (https://github.com/grpc/grpc/blob/master/doc/health-checking.md): of the empty name, the gateway takes
 * calls; of a service, or of an upstream by its name in the configuration, so does what is behind it.
 */
export function healthService(serving: Serving): OwnGrpcMethod[] {
  const watchers = { count: 0 };
  return [
    ownMethod('/grpc.health.v1.Health/Check', (method) => unary(method, (service) => check(serving, method, service))),
    ownMethod('/grpc.health.v1.Health/List', (method) => unary(method, () => list(serving, method))),
    ownMethod('/grpc.health.v1.Health/Watch', (method) => (answer) => new Watch(serving, method, answer, watchers)),
  ];
}

async function check(serving: Serving, method: MethodInfo, service: string): Promise<Uint8Array> {
  const status = await statusOf(serving, service);
  if (status === ServingStatus.SERVICE_UNKNOWN)
    throw new Problem('NOT_FOUND', 'No service of that name is served here.');
  return encode(method.desc.output, { status });
}

async function list(serving: Serving, method: MethodInfo): Promise<Uint8Array> {
  const statuses: Record<string, { status: ServingStatus }> = {};
  for (const service of ['', ...serving.upstreamOf.keys()]) {
    statuses[service] = { status: await statusOf(serving, service) };
  }
  return encode(method.desc.output, { statuses });
}

async function statusOf(serving: Serving, service: string): Promise<ServingStatus> {
  const { SERVING, NOT_SERVING, SERVICE_UNKNOWN } = ServingStatus;
  const upstream = serving.upstreamOf.get(service) ?? (serving.names.has(service) ? service : undefined);
  if (upstream === undefined && !OWN.has(service)) return SERVICE_UNKNOWN;
  if (!serving.takesCalls()) return NOT_SERVING;
  if (upstream === undefined) return SERVING;
  const states = await serving.upstreams();
  return states[upstream] === 'SERVING' ? SERVING : NOT_SERVING;
}

/** @param work with the name that the request has */
function unary(method: MethodInfo, work: (service: string) => Promise<Uint8Array>): OwnMethod {
  return (answer): OwnCall => {
    let message: Buffer | undefined;
    return {
      onMessage: (bytes) => (message = bytes),
      onHalfClose() {
        if (!message) throw new Problem('MALFORMED_REQUEST', 'The request has no message.');
        const { service = '' } = decode(method.desc.input, message) as { service?: string };
        work(service).then(
          (bytes) => {
            answer.send(bytes);
            answer.end();
          },
          (error: unknown) =>
            answer.end(error instanceof Problem ? error : new Problem('INTERNAL', '', { cause: error })),
        );
      },
    };
  };
}

/** One stream of a service's state: at once, and whenever it changes. */
class Watch implements OwnCall {
  private timer: NodeJS.Timeout | undefined;
  private last: ServingStatus | undefined;

  constructor(
    private readonly serving: Serving,
    private readonly method: MethodInfo,
    private readonly answer: OwnAnswer,
    private readonly watchers: { count: number },
  ) {}

  onMessage(message: Buffer): void {
    const { service } = decode(this.method.desc.input, message) as { service: string };
    if (this.timer !== undefined) throw new Problem('MALFORMED_REQUEST', 'The request has more than one message.');
    if (this.watchers.count >= WATCHERS_MAX)
      throw new Problem('OVERLOADED', 'Too many watch the health of the gateway.');
    this.watchers.count += 1;
    this.timer = setInterval(() => void this.look(service), LOOK_MS).unref();
    void this.look(service);
  }

  onHalfClose(): void {
    if (this.timer === undefined) throw new Problem('MALFORMED_REQUEST', 'The request has no message.');
  }

  onOver(): void {
    if (this.timer === undefined) return;
    clearInterval(this.timer);
    this.watchers.count -= 1;
  }

  private async look(service: string): Promise<void> {
    const status = await statusOf(this.serving, service);
    if (status === this.last) return;
    this.last = status;
    this.answer.send(encode(this.method.desc.output, { status }));
  }
}
