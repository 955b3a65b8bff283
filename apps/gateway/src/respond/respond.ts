import { Problem } from '@sluice/problem';
import { type Field, type Fields, messageMemory } from '@sluice/wire';
import type { Exchange } from '../exchange.js';
import { answerForm } from '../route/route.js';
import { connectProblem } from '../connect/error.js';
import type { CommonFields } from './common-fields.js';
import { compressed } from './compression.js';
import { grpcTrailers, trailerFrame } from './grpc-trailers.js';
import { oauthError } from './oauth-error.js';
import { respondPrepared } from './prepared.js';
import { problemFields, restProblem } from './rest-problem.js';

/** A whole answer. The body is the callee's from now on. */
export function respond(exchange: Exchange, status: number, fields: Field[], body: Uint8Array | undefined): void {
  const shrinking = compressed(exchange, fields, body);
  if (!shrinking) return send(exchange, status, fields, body);
  shrinking.then(
    (smaller) => send(exchange, status, fields, smaller),
    (error: unknown) => respondProblem(exchange, new Problem('INTERNAL', '', { cause: error })),
  );
}

function send(exchange: Exchange, status: number, fields: Fields, body: Uint8Array | undefined): void {
  if (exchange.finished) return;
  const { fixed, own } = commonFields(exchange).split(fields);
  exchange.status = status;
  exchange.transport.respond(status, own, body, fixed, vouched(exchange));
  if (body !== undefined) messageMemory.give(body);
  exchange.finish();
}

/** The beginning of an answer that is sent piece by piece. */
export function begin(exchange: Exchange, status: number, fields: Fields): void {
  const { fixed, own } = commonFields(exchange).split(fields);
  exchange.status = status;
  exchange.transport.begin(status, own, fixed, vouched(exchange));
}

/** What the gateway itself has decided on. */
function vouched({ responseFields, requestIdField }: Exchange): Fields {
  responseFields.push(requestIdField);
  return responseFields;
}

function commonFields({ runtime, transport }: Exchange): CommonFields {
  return runtime.common[transport.scheme];
}

/** The one place where a refusal or a failure becomes an answer. */
export function respondProblem(exchange: Exchange, problem: Problem): void {
  if (exchange.finished) return;
  exchange.runtime.log.failed(exchange, problem);
  if (problem.lasting && respondPrepared(exchange, problem)) return;
  exchange.runtime.limiter.refusedBehind(exchange, problem);
  const form = answerForm(exchange);
  const fields = problemFields(problem);
  switch (form) {
    case 'rest': {
      const { status, body, contentType } = restAnswer(exchange, problem);
      return respond(exchange, status, [['content-type', contentType], ...fields], body);
    }
    case 'connect': {
      const { status, body, contentType } = connectProblem(exchange, problem);
      return respond(exchange, status, [['content-type', contentType], ...fields], body);
    }
    case 'grpc': {
      const trailersOnly = [...grpcTrailers(problem), ...fields];
      return respond(exchange, 200, [['content-type', 'application/grpc'], ...trailersOnly], undefined);
    }
    case 'grpc-web':
    case 'grpc-web-text': {
      const frame = trailerFrame(grpcTrailers(problem));
      const body = form === 'grpc-web' ? frame : Buffer.from(frame.toString('base64'));
      return respond(exchange, 200, [['content-type', `application/${form}+proto`], ...fields], body);
    }
  }
}

/** As {@link restProblem} or, where the upstream's configuration says so, an OAuth error. */
function restAnswer(exchange: Exchange, problem: Problem): { status: number; body: Buffer; contentType: string } {
  if (exchange.route?.oauthErrors) {
    const { status, body } = oauthError(problem);
    return { status, body: Buffer.from(JSON.stringify(body)), contentType: 'application/json' };
  }
  const { status, text, contentType } = restProblem(exchange.runtime.config, problem, exchange.trace?.traceId);
  return { status, body: Buffer.from(text), contentType };
}
