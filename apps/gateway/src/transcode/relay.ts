import { isOfInside, Problem, type ProblemCode, problemFromStatus } from '@sluice/problem';
import { type Field, type Fields, outcomeOfTrailers, type Relay, type RelayEnd, type RelayEvents } from '@sluice/wire';
import type { Exchange } from '../exchange.js';
import { serveOwnGrpc } from '../local/grpc-call.js';
import { begin, respondProblem } from '../respond/respond.js';
import { grpcTrailers, trailerFrame } from '../respond/grpc-trailers.js';
import type { GrpcForm } from '../route/route.js';
import { tenantTaken } from '../tenant/tenant.js';
import { askedWait } from '../upstream/patience.js';
import { requestMetadata } from '../upstream/metadata.js';
import type { MethodHandle, Upstream } from '../upstream/upstream.js';
import { Base64Encoder } from './base64.js';
import { MessageLengths } from './message-lengths.js';
import { ownFailure, timeIsOver } from './problem.js';
import { messageTooLarge, type RelayOpener, RelayRequest } from './relay-request.js';

/** gRPC and gRPC-Web: message frames go through as they are, in both directions; only fields are looked at. */
export function forwardRelay(exchange: Exchange): void {
  const { place } = exchange.route.target;
  if (place.kind === 'local') {
    if (place.open) return serveOwnGrpc(exchange, place.open);
    return respondProblem(exchange, new Problem('UNIMPLEMENTED', 'The gateway serves this method over REST only.'));
  }
  new RelayCall(exchange, place.upstream, place.handle).start();
}

/** Response fields of the hop to the upstream that mean nothing on the hop to the client. */
const dropped = new Set([
  'content-type',
  'content-length',
  'connection',
  'transfer-encoding',
  'keep-alive',
  'upgrade',
  'proxy-connection',
  'http2-settings',
  'te',
  'trailer',
  'alt-svc',
  'server',
  'date',
  'x-request-id',
]);

class RelayCall implements RelayEvents, RelayOpener {
  private relay: Relay | undefined;
  private begun = false;
  /** Fields of the response's beginning that came with END_STREAM: they are the trailers. */
  private trailersOnly: Fields | undefined;
  private fields: Fields = [];
  private readonly form: GrpcForm;
  private readonly answers: MessageLengths;
  private readonly encoder: Base64Encoder | undefined;

  constructor(
    private readonly exchange: Exchange,
    private readonly upstream: Upstream,
    private readonly handle: MethodHandle,
  ) {
    exchange.stream?.forwardedBy(this);
    this.form = exchange.route.form as GrpcForm;
    this.answers = new MessageLengths(upstream.config.max_message);
    if (this.form === 'grpc-web-text') this.encoder = new Base64Encoder();
  }

  start(): void {
    const { exchange, upstream } = this;
    this.fields = [
      ['content-type', 'application/grpc'],
      ...encodings(exchange),
      ...requestMetadata(exchange, upstream),
    ];
    const messageMax = Math.min(upstream.config.max_message, exchange.route.target.bodyMax);
    new RelayRequest(exchange, this, messageMax).start();
  }

  open(deadline: number): Relay {
    const { exchange, upstream, handle, fields } = this;
    const unlimited = exchange.route.target.method.kind !== 'unary';
    const { account, tenant: share } = exchange;
    const options = { deadline, account, share, unlimited, waitMs: askedWait(exchange) };
    this.relay = upstream.channel.openStream(handle, fields, options, this);
    exchange.work = this.relay;
    return this.relay;
  }

  onHeaders(status: number, fields: Fields, last: boolean): void {
    if (status !== 200) return this.refuse(notGrpc(status, `the upstream answered HTTP ${status} instead of gRPC`));
    if (!fields.some(([name, value]) => name === 'content-type' && value.startsWith('application/grpc'))) {
      return this.refuse(notGrpc(status, 'the upstream answered with a content type that is not gRPC'));
    }
    if (last) this.trailersOnly = fields;
    else this.beginOnce(fields);
  }

  onData(chunk: Buffer): void {
    if (this.exchange.finished || !this.begun) return;
    this.exchange.stream?.touch();
    const excess = this.answers.excess(chunk);
    if (excess !== undefined) return this.refuse(messageTooLarge(excess, this.answers.most));
    const bytes = this.encoder ? this.encoder.push(chunk) : Buffer.from(chunk);
    if (bytes.length > 0 && !this.exchange.transport.write(bytes)) this.relay?.pause();
  }

  onDrain(): void {
    this.exchange.transport.resumeBody();
  }

  onEnd(end: RelayEnd): void {
    const { exchange } = this;
    if (exchange.finished) return;
    const { failure } = end;
    if (failure) {
      const { code, message } = failure;
      const late = timeIsOver(code, exchange.deadline, message);
      return this.refuse(ownFailure(failure) ?? late ?? problemFromStatus(code, message));
    }
    const trailers = end.trailers ?? this.trailersOnly;
    const status = trailers && statusOf(trailers);
    if (status === undefined) {
      return this.refuse(new Problem('INTERNAL', '', { cause: 'the upstream ended the stream without grpc-status' }));
    }
    if (Number.isNaN(status)) return this.refuse(new Problem('UNKNOWN', '', { cause: 'grpc-status is not a number' }));
    const late = timeIsOver(status, exchange.deadline, 'the upstream ended the call at its deadline');
    if (late) return this.refuse(late);
    if (isOfInside(status)) return this.endByInside(trailers!);
    if (status === 0) tenantTaken(exchange);
    this.beginOnce([]);
    this.finish(trailers!.filter(([name]) => !dropped.has(name)));
  }

  /** A status whose text may speak of the upstream's inside: the log has it, and the client as much of it as the configuration says. */
  private endByInside(trailers: Fields): void {
    const { exchange, upstream } = this;
    const expose = upstream.expose.grpc;
    const { code, message } = outcomeOfTrailers(trailers);
    const problem = problemFromStatus(code, message, undefined, { expose });
    if (expose === 'codes') return this.refuse(problem);
    exchange.runtime.log.failed(exchange, problem);
    this.beginOnce([]);
    const kept =
      expose === 'all' ? () => true : (name: string) => ofText.has(name) || upstream.passed.ofFailures.has(name);
    this.finish(trailers.filter(([name]) => !dropped.has(name) && kept(name)));
  }

  /** Before the answer has begun a refusal is an answer of its own; after it, it is in the trailers. */
  refuse(problem: Problem): void {
    const { exchange } = this;
    if (exchange.finished) return;
    if (!this.begun) respondProblem(exchange, problem);
    else {
      exchange.runtime.log.failed(exchange, problem);
      this.finish(grpcTrailers(problem));
    }
    this.relay?.cancel();
  }

  private beginOnce(fields: Fields): void {
    if (this.begun) return;
    this.begun = true;
    const kept = fields.filter(([name]) => !dropped.has(name));
    const contentType = this.form === 'grpc' ? 'application/grpc' : `application/${this.form}+proto`;
    begin(this.exchange, 200, [['content-type', contentType], ...kept]);
  }

  private finish(trailers: Fields): void {
    const { transport } = this.exchange;
    if (this.form === 'grpc') transport.end(trailers);
    else {
      const frame = trailerFrame(trailers);
      const rest = this.encoder ? Buffer.concat([this.encoder.end(), Buffer.from(frame.toString('base64'))]) : frame;
      transport.write(rest);
      transport.end();
    }
    this.exchange.finish();
  }
}

/** Trailers that say how a call ended, and no more than in words. */
const ofText = new Set(['grpc-status', 'grpc-message', 'grpc-retry-pushback-ms']);

/** How the upstream says that the call ended; undefined without `grpc-status`, NaN when it is not a code. */
function statusOf(trailers: Fields): number | undefined {
  for (const [name, value] of trailers)
    if (name === 'grpc-status') return /^\d{1,2}$/.test(value) ? Number(value) : NaN;
  return undefined;
}

/** https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md */
function notGrpc(status: number, cause: string): Problem {
  return new Problem(codesOfHttp[status] ?? 'UNKNOWN', '', { cause });
}

const codesOfHttp: Readonly<Record<number, ProblemCode>> = {
  400: 'INTERNAL',
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'UNIMPLEMENTED',
  429: 'UNAVAILABLE',
  502: 'UNAVAILABLE',
  503: 'UNAVAILABLE',
  504: 'UNAVAILABLE',
};

/** `grpc-encoding` and `grpc-accept-encoding` belong to the frames, which are not touched. */
function encodings(exchange: Exchange): Field[] {
  return exchange.head.passable.filter(([name]) => name === 'grpc-encoding' || name === 'grpc-accept-encoding');
}
