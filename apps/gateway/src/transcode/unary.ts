import type { Binding } from '@sluice/transcode';
import type { Call, CallEvents, Fields, Outcome } from '@sluice/wire';
import type { Exchange } from '../exchange.js';
import { encodeAnswer, type LocalMethod } from '../local/local.js';
import { respond, respondProblem } from '../respond/respond.js';
import type { Target } from '../route/route.js';
import { requestMetadata, responseHeaders } from '../upstream/metadata.js';
import type { MethodHandle, Upstream } from '../upstream/upstream.js';
import { Problem, toProblem } from '@sluice/problem';
import { readBody } from './body.js';
import { transcodeProblem, outcomeProblem } from './problem.js';

/** REST to a unary method: body → message → call → message → body. */
export function forwardUnary(exchange: Exchange): void {
  const { route } = exchange;
  const binding = route.binding!;
  readBody(
    exchange,
    (body) => {
      if (exchange.finished) return;
      let message: Uint8Array;
      try {
        message = encodeRequest(exchange, binding, body);
      } catch (error) {
        return respondProblem(exchange, transcodeProblem(error));
      }
      const { place } = route.target;
      if (place.kind === 'local') void answerLocally(exchange, route.target, binding, place.serve);
      else new UnaryCall(exchange, binding, place.upstream).start(place.handle, message);
    },
    (problem) => respondProblem(exchange, problem),
  );
}

function encodeRequest(exchange: Exchange, binding: Binding, body: Buffer | undefined): Uint8Array {
  return binding.encodeRequest({
    variables: exchange.variables,
    query: exchange.query,
    contentType: exchange.head.contentType,
    body,
  });
}

async function answerLocally(exchange: Exchange, target: Target, binding: Binding, serve: LocalMethod): Promise<void> {
  try {
    const answer = await serve(exchange);
    const { body, contentType } = binding.decodeResponse(encodeAnswer(target.method, answer));
    respond(exchange, answer.status, [['content-type', contentType]], body);
  } catch (error) {
    respondProblem(exchange, toProblem(error));
  }
}

/** One call to an upstream and what becomes of its answer. */
class UnaryCall implements CallEvents {
  private metadata: Fields = [];
  private message: Buffer | undefined;
  private call: Call | undefined;

  constructor(
    private readonly exchange: Exchange,
    private readonly binding: Binding,
    private readonly upstream: Upstream,
  ) {}

  start(handle: MethodHandle, message: Uint8Array): void {
    const { exchange, upstream } = this;
    const idempotent = this.binding.method.idempotency !== 'unknown';
    const metadata = requestMetadata(exchange, upstream, exchange.runtime.secret);
    exchange.transport.onGone = () => {
      exchange.status = 499;
      this.call?.cancel();
      exchange.finish();
    };
    this.call = upstream.channel.unary(handle, metadata, message, { deadline: exchange.deadline, idempotent }, this);
  }

  onHeaders(fields: Fields): void {
    this.metadata = fields;
  }

  onMessage(message: Buffer): void {
    this.message = message;
  }

  onEnd(outcome: Outcome): void {
    const { exchange } = this;
    if (exchange.finished) return;
    if (outcome.code !== 0) return respondProblem(exchange, outcomeProblem(outcome));
    if (!this.message) return respondProblem(exchange, new Problem('INTERNAL', '', { cause: 'OK without a message' }));
    let body: Uint8Array;
    let contentType: string;
    try {
      ({ body, contentType } = this.binding.decodeResponse(this.message));
    } catch (error) {
      return respondProblem(exchange, transcodeProblem(error));
    }
    respond(exchange, 200, responseHeaders(contentType, this.metadata, this.upstream), body);
  }
}
