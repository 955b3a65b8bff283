import type { Problem } from '@sluice/problem';
import type { FixedFields } from '@sluice/wire';
import type { GatewayConfig } from '../config/schema.js';
import type { Exchange } from '../exchange.js';
import type { CommonFields } from './common-fields.js';
import { problemFields, restProblem } from './rest-problem.js';

/** The answer to a problem that refuses many calls: all of it but for the trace and the request's id. */
interface PreparedAnswer {
  readonly config: GatewayConfig;
  /** What it was made with: answers over TLS have more. */
  readonly common: CommonFields;
  readonly fields: FixedFields;
  readonly body: Buffer;
  /** Where in the body the trace's id stands; -1: nowhere. */
  readonly traceAt: number;
}

/** A problem that was answered once may not come again. */
const ONCE = 'once';

/** Stands where the trace's id will. */
const NO_TRACE = '0'.repeat(32);

/**
 * Answers a REST call with what was made ready for the same problem before. In a storm of refusals, writing the same document and
 * fields again for each would cost as much as everything else that is done for it.
 *
 * @returns false when something of the answer is the call's own, and it is to be written as any other
 */
export function respondPrepared(exchange: Exchange, problem: Problem): boolean {
  const { route, responseFields, runtime, transport } = exchange;
  if (route?.form !== 'rest' || route.oauthErrors || responseFields.length > 0) return false;
  let answer = problem.prepared as PreparedAnswer | typeof ONCE | undefined;
  if (answer === undefined) {
    problem.prepared = ONCE;
    return false;
  }
  const common = runtime.common[transport.scheme];
  if (answer === ONCE || answer.config !== runtime.config || answer.common !== common) {
    problem.prepared = answer = prepare(runtime.config, common, problem);
  }
  const { fields, body, traceAt } = answer;
  // A body of that size may be compressed, as the client says.
  if (body.length >= runtime.config.sizes.compress_above) return false;
  exchange.status = problem.status;
  const own = traceAt === -1 ? body : withTrace(body, traceAt, exchange.trace.traceId);
  transport.respond(problem.status, [], own, fields, [exchange.requestIdField]);
  exchange.finish();
  return true;
}

function withTrace(body: Buffer, at: number, traceId: string): Buffer {
  const own = Buffer.allocUnsafe(body.length);
  body.copy(own);
  own.write(traceId, at, 'latin1');
  return own;
}

function prepare(config: GatewayConfig, common: CommonFields, problem: Problem): PreparedAnswer {
  const { text, contentType } = restProblem(config, problem, NO_TRACE);
  // Not of the pool: what is kept would keep the buffers of a moment with it.
  const body = Buffer.allocUnsafeSlow(Buffer.byteLength(text));
  body.write(text);
  return {
    config,
    common,
    fields: common.fixed([['content-type', contentType], ...problemFields(problem)]),
    body,
    traceAt: body.lastIndexOf(NO_TRACE),
  };
}
