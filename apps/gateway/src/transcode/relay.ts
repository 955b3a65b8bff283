import { Problem } from '@sluice/problem';
import type { Field, Fields, Relay, RelayEnd, RelayEvents } from '@sluice/wire';
import type { Exchange } from '../exchange.js';
import { begin, respondProblem } from '../respond/respond.js';
import { grpcTrailers, trailerFrame } from '../respond/grpc-trailers.js';
import type { Form } from '../route/route.js';
import { requestMetadata } from '../upstream/metadata.js';
import type { MethodHandle, Upstream } from '../upstream/upstream.js';
import { Base64Decoder, Base64Encoder } from './base64.js';
import { outcomeProblem } from './problem.js';

/** gRPC and gRPC-Web: message frames go through as they are, in both directions; only fields are looked at. */
export function forwardRelay(exchange: Exchange): void {
  const { place } = exchange.route.target;
  if (place.kind === 'local') {
    return respondProblem(exchange, new Problem('UNIMPLEMENTED', 'The gateway serves this method over REST only.'));
  }
  new RelayCall(exchange, place.upstream).start(place.handle);
}

/** Response fields of the hop to the upstream that mean nothing on the hop to the client. */
const dropped = new Set(['content-type', 'connection', 'transfer-encoding', 'keep-alive', 'upgrade', 'server', 'date']);

class RelayCall implements RelayEvents {
  private relay: Relay | undefined;
  private begun = false;
  /** Fields of the response's beginning that came with END_STREAM: they are the trailers. */
  private trailersOnly: Fields | undefined;
  private readonly form: Exclude<Form, 'rest'>;
  private readonly decoder: Base64Decoder | undefined;
  private readonly encoder: Base64Encoder | undefined;

  constructor(
    private readonly exchange: Exchange,
    private readonly upstream: Upstream,
  ) {
    this.form = exchange.route.form as Exclude<Form, 'rest'>;
    if (this.form === 'grpc-web-text') {
      this.decoder = new Base64Decoder();
      this.encoder = new Base64Encoder();
    }
  }

  start(handle: MethodHandle): void {
    const { exchange, upstream } = this;
    const { transport } = exchange;
    const fields: Field[] = [
      ['content-type', 'application/grpc'],
      ...encodings(exchange),
      ...requestMetadata(exchange, upstream, exchange.runtime.secret),
    ];
    transport.onGone = () => {
      exchange.status = exchange.status || 499;
      this.relay?.cancel();
      exchange.finish();
    };
    transport.onDrain = () => this.relay?.resume();
    this.relay = upstream.channel.openStream(handle, fields, { deadline: exchange.deadline }, this);
    if (!transport.hasBody) return this.relay.end();
    transport.readBody({
      onData: (chunk) => this.send(chunk),
      onEnd: () => this.relay!.end(),
    });
  }

  private send(chunk: Buffer): void {
    let bytes: Buffer | undefined = chunk;
    if (this.decoder) bytes = this.decoder.push(chunk);
    if (bytes === undefined) {
      this.relay!.cancel();
      return respondProblem(this.exchange, new Problem('MALFORMED_REQUEST', 'The body is not base64 text.'));
    }
    if (bytes.length > 0 && !this.relay!.write(bytes)) this.exchange.transport.pauseBody();
  }

  onHeaders(status: number, fields: Fields, last: boolean): void {
    if (last) this.trailersOnly = fields;
    else if (status === 200) this.beginOnce(fields);
  }

  onData(chunk: Buffer): void {
    if (this.exchange.finished || !this.begun) return;
    const bytes = this.encoder ? this.encoder.push(chunk) : chunk;
    if (bytes.length > 0 && !this.exchange.transport.write(bytes)) this.relay?.pause();
  }

  onDrain(): void {
    this.exchange.transport.resumeBody();
  }

  onEnd(end: RelayEnd): void {
    const { exchange } = this;
    if (exchange.finished) return;
    const trailers = end.trailers ?? this.trailersOnly;
    if (end.failure || !trailers?.some(([name]) => name === 'grpc-status')) {
      const problem = end.failure
        ? outcomeProblem(end.failure)
        : new Problem('INTERNAL', '', { cause: 'the upstream ended the stream without grpc-status' });
      if (!this.begun) return respondProblem(exchange, problem);
      exchange.runtime.log.failed(exchange, problem);
      return this.finish(grpcTrailers(problem));
    }
    this.beginOnce([]);
    this.finish(trailers.filter(([name]) => !dropped.has(name)));
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

/** `grpc-encoding` and `grpc-accept-encoding` belong to the frames, which are not touched. */
function encodings(exchange: Exchange): Field[] {
  const named = exchange.head.passable.filter(([name]) => name === 'grpc-encoding' || name === 'grpc-accept-encoding');
  return [...named];
}
