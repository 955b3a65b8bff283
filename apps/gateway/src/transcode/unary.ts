import type { Binding } from '@sluice/transcode';
import { type CallEvents, type Fields, type MemoryAccount, messageMemory, type Outcome } from '@sluice/wire';
import type { Exchange } from '../exchange.js';
import { encodeAnswer, type LocalMethod } from '../local/local.js';
import { respond, respondProblem } from '../respond/respond.js';
import type { Target, UpstreamPlace } from '../route/route.js';
import { afterTenant, tenantTaken } from '../tenant/tenant.js';
import type { Upstream } from '../upstream/upstream.js';
import { answerStatus, isBodiless, responseHeaders } from '../upstream/answer-fields.js';
import { startUnary } from '../upstream/metadata.js';
import { askedWait } from '../upstream/patience.js';
import { Problem, toProblem } from '@sluice/problem';
import { type BodyTaker, readBody } from './body.js';
import { transcodeProblem, outcomeProblem } from './problem.js';

/** REST to a unary method: body → message → call → message → body. */
export function forwardUnary(exchange: Exchange): void {
  const { place } = exchange.route.target;
  requireAcceptable(exchange);
  readBody(exchange, place.kind === 'local' ? new LocalCall(exchange, place.serve) : new UnaryCall(exchange, place));
}

/** @throws Problem NOT_ACCEPTABLE when the client takes no JSON (RFC 9110 section 15.5.7) */
export function requireAcceptable(exchange: Exchange): void {
  if (exchange.route.binding!.answersAcceptably(exchange.head.accept)) return;
  throw new Problem('NOT_ACCEPTABLE', 'The answer is available as application/json.');
}

/** @throws TranscodeError, whose problem `transcodeProblem` gives */
export function encodeRequest(exchange: Exchange, binding: Binding, body: Buffer | undefined): Uint8Array {
  return binding.encodeRequest({
    variables: exchange.variables,
    query: exchange.query,
    contentType: exchange.head.contentType,
    body,
  });
}

/** One call to a method of the gateway's own. */
class LocalCall implements BodyTaker {
  constructor(
    private readonly exchange: Exchange,
    private readonly serve: LocalMethod,
  ) {}

  onBody(body: Buffer | undefined): void {
    const { exchange } = this;
    const binding = exchange.route.binding!;
    try {
      encodeRequest(exchange, binding, body);
    } catch (error) {
      return this.onBodyFault(transcodeProblem(error));
    }
    void answerLocally(exchange, exchange.route.target, binding, this.serve);
  }

  onBodyFault(problem: Problem): void {
    respondProblem(this.exchange, problem);
  }
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
class UnaryCall implements BodyTaker, CallEvents {
  private readonly binding: Binding;
  private metadata: Fields = NONE;
  private request: Uint8Array = NOTHING;
  /** Where the request is counted, when it is large. */
  private account: MemoryAccount | undefined;
  private message: Buffer | undefined;

  constructor(
    private readonly exchange: Exchange,
    private readonly place: UpstreamPlace,
  ) {
    this.binding = exchange.route.binding!;
  }

  onBody(body: Buffer | undefined): void {
    const { exchange, binding } = this;
    let message: Uint8Array;
    try {
      message = encodeRequest(exchange, binding, body);
    } catch (error) {
      return respondProblem(exchange, transcodeProblem(error));
    }
    this.request = message;
    if (message.byteLength > UNCOUNTED_OCTETS) (this.account = exchange.account).hold(message.byteLength);
    if (exchange.route.target.tenantField === undefined) return this.send();
    afterTenant(
      exchange,
      message,
      () => this.send(),
      () => this.release(),
    );
  }

  private send(): void {
    const { exchange, place, request } = this;
    const { deadline, account, tenant: share } = exchange;
    const options = { deadline, idempotent: place.idempotent, account, share, waitMs: askedWait(exchange) };
    exchange.work = startUnary(exchange, place, request, options, this);
  }

  private release(): void {
    messageMemory.give(this.request);
    this.account?.release(this.request.byteLength);
  }

  onBodyFault(problem: Problem): void {
    respondProblem(this.exchange, problem);
  }

  onHeaders(fields: Fields): void {
    this.metadata = fields;
  }

  onMessage(message: Buffer): void {
    this.message = message;
  }

  onEnd(outcome: Outcome): void {
    const { exchange } = this;
    this.release();
    if (exchange.finished) return;
    const { metadata, message, binding } = this;
    const { upstream } = this.place;
    if (outcome.code !== 0) return respondProblem(exchange, outcomeProblem(outcome, metadata, exchange, upstream));
    if (!message) return respondProblem(exchange, new Problem('INTERNAL', '', { cause: 'OK without a message' }));
    tenantTaken(exchange);
    answerOnce(exchange, binding, upstream, message, metadata, outcome.trailers);
  }
}

/** Answers with one message of an upstream, under the status that it names. */
export function answerOnce(
  exchange: Exchange,
  binding: Binding,
  upstream: Upstream,
  message: Buffer,
  metadata: Fields,
  trailers: Fields,
): void {
  const status = answerStatus(metadata, trailers);
  let body: Uint8Array;
  let contentType: string;
  try {
    ({ body, contentType } = binding.decodeResponse(message));
  } catch (error) {
    return respondProblem(exchange, transcodeProblem(error));
  }
  // A raw body is a part of the message.
  if (body.buffer !== message.buffer) messageMemory.give(message);
  const fields = responseHeaders(contentType, metadata, trailers, upstream);
  if (!isBodiless(status)) return respond(exchange, status, fields, body);
  messageMemory.give(body);
  respond(exchange, status, fields.slice(1), undefined);
}

/** Smaller requests are bounded by how many calls a client may have in flight. */
export const UNCOUNTED_OCTETS = 16_384;
const NONE: Fields = [];
const NOTHING = new Uint8Array(0);
