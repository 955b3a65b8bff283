import { Problem, toProblem } from '@sluice/problem';
import { newTraceContext } from '@sluice/telemetry';
import { authenticate } from './authenticate/authenticate.js';
import { forwardConnect } from './connect/connect.js';
import { Exchange, type Transport } from './exchange.js';
import { limit } from './limit/limit.js';
import { preflight as readHead } from './preflight/preflight.js';
import { cors } from './respond/cors.js';
import { respondProblem } from './respond/respond.js';
import { options } from './route/options.js';
import { type Form, route } from './route/route.js';
import type { Runtime } from './runtime.js';
import { tenant } from './tenant/tenant.js';
import { admitStream } from './streams/admit-stream.js';
import { noMemory } from './transcode/problem.js';
import { forwardRelay } from './transcode/relay.js';
import { forwardStream } from './transcode/stream.js';
import { forwardUnary } from './transcode/unary.js';

/**
 * A step of every call. It adds to the exchange, or throws a Problem, or answers; it takes a promise only when it must wait.
 * A Problem that comes in storms is returned: throwing costs more than finding out.
 */
type Stage = (exchange: Exchange) => void | Problem | Promise<void | Problem>;

/** The architecture on one screen: what happens to a call, in this order. */
const stages: readonly Stage[] = [
  preflight, //     what arrived, understood once       400, 431
  cors, //          may a page of that origin ask       204
  options, //       what a path takes                   204
  route, //         which method is meant               404, 405, 415
  authenticate, //  who is calling                      401, 403
  tenant, //        whose call it is                    400
  limit, //         may they call now                   429
  admitStream, //   is there room for a stream          429, 503
  forward, //       transcode, call, transcode, answer  400, gRPC status → HTTP
];

function preflight(exchange: Exchange): void {
  exchange.trace = newTraceContext();
  // Drawn for this call alone, so it names the request, too, also when the client has a trace of its own.
  exchange.requestIdField = ['x-request-id', exchange.trace.traceId];
  exchange.head = readHead(exchange.transport, exchange.runtime.preflight);
  if (exchange.head.trace) exchange.trace = newTraceContext(exchange.head.trace);
  const { requestId } = exchange.head;
  if (requestId !== undefined) exchange.requestIdField = ['x-request-id', requestId];
}

function forward(exchange: Exchange): void | Problem {
  const { account } = exchange;
  if (account.exhausted && !account.relieve()) {
    exchange.runtime.clients.counters.memory_exhausted++;
    return noMemory('Too much is held in memory for this client or for all: read the answers that wait.');
  }
  const { form, target } = exchange.route;
  if (form === 'rest' && target.method.kind === 'unary') return forwardUnary(exchange);
  return forwardByForm[form](exchange);
}

const forwardByForm: Readonly<Record<Form, (exchange: Exchange) => void>> = {
  rest: forwardStream,
  grpc: forwardRelay,
  'grpc-web': forwardRelay,
  'grpc-web-text': forwardRelay,
  connect: forwardConnect,
};

/** Takes one request through all stages. Never throws: whatever goes wrong becomes the answer. */
export function handle(transport: Transport, runtime: Runtime): void {
  const exchange = new Exchange(transport, runtime);
  transport.events = exchange;
  advance(exchange, 0);
}

function advance(exchange: Exchange, from: number): void {
  try {
    for (let index = from; index < stages.length && !exchange.finished; index++) {
      const outcome = stages[index]!(exchange);
      if (outcome === undefined) continue;
      if (outcome instanceof Problem) return respondProblem(exchange, outcome);
      outcome.then(
        (problem) => (problem ? respondProblem(exchange, problem) : advance(exchange, index + 1)),
        (error: unknown) => respondProblem(exchange, toProblem(error)),
      );
      return;
    }
  } catch (error) {
    respondProblem(exchange, toProblem(error));
  }
}
