import { Problem } from '@sluice/problem';
import { type CallEvents, type Fields, messageMemory, type Outcome } from '@sluice/wire';
import type { Exchange } from '../exchange.js';
import { respond, respondProblem } from '../respond/respond.js';
import type { UpstreamPlace } from '../route/route.js';
import { readBody } from '../transcode/body.js';
import { transcodeProblem } from '../transcode/problem.js';
import { UNCOUNTED_OCTETS } from '../transcode/unary.js';
import { afterTenant, tenantTaken } from '../tenant/tenant.js';
import { startUnary } from '../upstream/metadata.js';
import { type ConnectCodec, connectCodec } from './codecs.js';
import { gunzip } from './envelope.js';
import { asTrailers, failureOf, passedOn } from './fields.js';
import { connectType } from './recognize.js';

/** A unary call: the message is the body, or a parameter of the query. @throws Problem */
export function forwardConnectUnary(exchange: Exchange, place: UpstreamPlace): void {
  if (exchange.transport.method === 'GET') {
    const { codec, message } = messageOfQuery(exchange);
    return new ConnectUnaryCall(exchange, place, codec).call(message);
  }
  const type = connectType(exchange.head.contentType);
  if (!type || type.stream) {
    throw new Problem('UNSUPPORTED_MEDIA_TYPE', 'This method takes application/json and application/proto.', {
      headers: { 'accept-post': 'application/json, application/proto' },
    });
  }
  const call = new ConnectUnaryCall(exchange, place, type.codec);
  readBody(exchange, {
    onBody: (body) => call.call(body ?? NOTHING),
    onBodyFault: (problem) => respondProblem(exchange, problem),
  });
}

/**
 * The message of a GET ("Unary-Get-Request").
 * @throws Problem METHOD_NOT_ALLOWED when the method may have side effects, UNSUPPORTED_MEDIA_TYPE, UNIMPLEMENTED or INVALID_ARGUMENT
 */
function messageOfQuery({ query, route: { target } }: Exchange): { codec: 'json' | 'proto'; message: Buffer } {
  if (target.method.idempotency !== 'no_side_effects') {
    throw new Problem('METHOD_NOT_ALLOWED', 'This method may have side effects: it takes POST.', {
      headers: { allow: 'POST' },
    });
  }
  const parameters = new URLSearchParams(query);
  const codec = parameters.get('encoding');
  if (codec !== 'json' && codec !== 'proto') {
    throw new Problem('UNSUPPORTED_MEDIA_TYPE', 'encoding: expected json or proto in the query.');
  }
  const text = parameters.get('message');
  if (text === null) throw new Problem('INVALID_ARGUMENT', 'message: expected in the query.');
  const encoded = parameters.get('base64') === '1';
  if (encoded && !/^[A-Za-z0-9+/_-]*={0,2}$/.test(text)) {
    throw new Problem('INVALID_ARGUMENT', 'message: expected base64, as base64=1 says.');
  }
  const bytes = Buffer.from(text, encoded ? 'base64url' : 'utf8');
  const compression = parameters.get('compression') ?? '';
  if (compression === '' || compression === 'identity') return { codec, message: bytes };
  if (compression === 'gzip') return { codec, message: gunzip(bytes, target.bodyMax) };
  throw new Problem('UNIMPLEMENTED', 'compression: expected gzip or identity.');
}

class ConnectUnaryCall implements CallEvents {
  private readonly codec: ConnectCodec;
  private metadata: Fields = [];
  private message: Buffer | undefined;
  /** Octets of the request that are counted, when it is large. */
  private held = 0;

  constructor(
    private readonly exchange: Exchange,
    private readonly place: UpstreamPlace,
    private readonly type: 'json' | 'proto',
  ) {
    this.codec = connectCodec(type, place.upstream, exchange.route.target.method.desc);
  }

  /** @param bytes of the message as the client wrote it */
  call(bytes: Buffer): void {
    const { exchange } = this;
    let message: Uint8Array;
    try {
      message = this.codec.decode(bytes);
    } catch (error) {
      return respondProblem(exchange, transcodeProblem(error));
    }
    if (message.byteLength > UNCOUNTED_OCTETS) exchange.account.hold((this.held = message.byteLength));
    if (exchange.route.target.tenantField === undefined) return this.send(message);
    afterTenant(
      exchange,
      message,
      () => this.send(message),
      () => this.release(),
    );
  }

  private send(message: Uint8Array): void {
    const { exchange, place } = this;
    const { deadline, account, tenant: share } = exchange;
    const options = { deadline, idempotent: place.idempotent, account, share };
    exchange.work = startUnary(exchange, place, message, options, this);
  }

  private release(): void {
    if (this.held > 0) this.exchange.account.release(this.held);
  }

  onHeaders(fields: Fields): void {
    this.metadata = fields;
  }

  onMessage(message: Buffer): void {
    this.message = message;
  }

  onEnd(outcome: Outcome): void {
    const { exchange, message, place, type } = this;
    this.release();
    if (exchange.finished) return;
    if (outcome.code !== 0) {
      const failure = failureOf(outcome, exchange, place.upstream);
      if (failure.kind === 'problem') return respondProblem(exchange, failure.problem);
      exchange.runtime.log.failed(exchange, failure.logged);
      const { error, status, kept } = failure;
      const metadata = [...passedOn(this.metadata, kept), ...asTrailers(outcome.trailers, kept)];
      const body = Buffer.from(JSON.stringify(error));
      return respond(exchange, status, [['content-type', 'application/json'], ...metadata], body);
    }
    if (!message) return respondProblem(exchange, new Problem('INTERNAL', '', { cause: 'OK without a message' }));
    tenantTaken(exchange);
    let body: Uint8Array;
    try {
      body = this.codec.encode(message);
    } catch (error) {
      return respondProblem(exchange, transcodeProblem(error));
    }
    if (body !== message) messageMemory.give(message);
    const metadata = [...passedOn(this.metadata), ...asTrailers(outcome.trailers)];
    respond(exchange, 200, [['content-type', `application/${type}`], ...metadata], body);
  }
}

const NOTHING = Buffer.alloc(0);
