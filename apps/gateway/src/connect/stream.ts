import { Problem } from '@sluice/problem';
import { type Call, type CallEvents, type Fields, Holding, type Outcome } from '@sluice/wire';
import type { BodySink, Exchange } from '../exchange.js';
import { begin, respondProblem } from '../respond/respond.js';
import type { UpstreamPlace } from '../route/route.js';
import { noMemory, transcodeProblem } from '../transcode/problem.js';
import { requestMetadata } from '../upstream/metadata.js';
import { type ConnectCodec, connectCodec } from './codecs.js';
import { endOfStream, envelope, EnvelopeReader } from './envelope.js';
import { type ConnectError, errorOfProblem } from './error.js';
import { endingOf, failureOf, passedOn } from './fields.js';
import { connectType } from './recognize.js';

/** A call that streams on either side or both: every message has an envelope, and the last envelope says how it ended. @throws Problem */
export function forwardConnectStream(exchange: Exchange, place: UpstreamPlace): void {
  const type = connectType(exchange.head.contentType);
  if (exchange.transport.method !== 'POST') {
    throw new Problem('METHOD_NOT_ALLOWED', 'Streams are POST requests.', { headers: { allow: 'POST' } });
  }
  if (!type?.stream) {
    const types = 'application/connect+json, application/connect+proto';
    throw new Problem('UNSUPPORTED_MEDIA_TYPE', `This method takes ${types}.`, { headers: { 'accept-post': types } });
  }
  new ConnectStreamCall(exchange, place, type.codec).start();
}

/** Both directions stop each other: the upstream is paused while the client does not read, and the client's body while the upstream does not. */
class ConnectStreamCall implements CallEvents, BodySink {
  private readonly codec: ConnectCodec;
  private readonly requests: EnvelopeReader;
  /** The memory of an envelope whose end has not come. */
  private readonly holding: Holding;
  private call: Call | undefined;
  private begun = false;
  /** Messages wait to leave for the upstream. */
  private upstreamFull = false;

  constructor(
    private readonly exchange: Exchange,
    private readonly place: UpstreamPlace,
    private readonly type: 'json' | 'proto',
  ) {
    const { head, route } = exchange;
    this.codec = connectCodec(type, place.upstream, route.target.method.desc);
    this.requests = new EnvelopeReader(route.target.bodyMax, head.connect?.contentEncoding);
    this.holding = new Holding(exchange.account, this);
    exchange.stream?.forwardedBy(this);
  }

  start(): void {
    const { exchange, place } = this;
    const { deadline, account, transport } = exchange;
    const { upstream, handle } = place;
    const metadata = requestMetadata(exchange, upstream);
    this.call = upstream.channel.start(handle, metadata, { deadline, account, unlimited: true }, this);
    exchange.work = this.call;
    if (transport.hasBody) transport.readBody(this);
    else this.call.end();
  }

  onData(chunk: Buffer): void {
    this.exchange.stream?.touch();
    this.guarded(() => {
      const { requests, holding } = this;
      for (const message of requests.push(chunk)) this.upstreamFull = !this.call!.write(this.codec.decode(message));
      const { held } = requests;
      if (held !== holding.octets) holding.change(held - holding.octets);
      if (this.upstreamFull || (held > 0 && !holding.hasRoom())) this.exchange.transport.pauseBody();
    });
  }

  /** Of the request. */
  onEnd(): void;
  /** Of the call. */
  onEnd(outcome: Outcome): void;
  onEnd(outcome?: Outcome): void {
    if (outcome) this.ended(outcome);
    else {
      this.guarded(() => {
        this.requests.end();
        this.call!.end();
      });
    }
  }

  onDrain(): void {
    this.upstreamFull = false;
    if (!this.holding.waiting) this.exchange.transport.resumeBody();
  }

  onRoom(): void {
    if (!this.upstreamFull) this.exchange.transport.resumeBody();
  }

  onNoRoom(): void {
    this.refuse(noMemory('A message of the request found no room in memory: clients send more than there is.'));
  }

  onHeaders(fields: Fields): void {
    this.beginOnce(fields);
  }

  onMessage(message: Buffer): void {
    this.exchange.stream?.touch();
    this.guarded(() => {
      const framed = envelope(this.codec.encode(message));
      this.beginOnce([]);
      if (!this.exchange.transport.write(framed)) this.call?.pause();
    });
  }

  private ended(outcome: Outcome): void {
    const { exchange, place } = this;
    this.holding.end();
    if (exchange.finished) return;
    if (outcome.code === 0) return this.finish(undefined, passedOn(outcome.trailers));
    const failure = failureOf(outcome, exchange, place.upstream);
    if (failure.kind === 'problem' && !this.begun) return respondProblem(exchange, failure.problem);
    const { error, logged, trailers } = endingOf(failure, outcome.trailers);
    exchange.runtime.log.failed(exchange, logged);
    this.finish(error, trailers);
  }

  refuse(problem: Problem): void {
    const { exchange } = this;
    if (exchange.finished) return;
    if (!this.begun) respondProblem(exchange, problem);
    else {
      exchange.runtime.log.failed(exchange, problem);
      this.finish(errorOfProblem(problem), []);
    }
    this.call?.cancel();
  }

  private finish(error: ConnectError | undefined, trailers: Fields): void {
    const { exchange } = this;
    this.beginOnce([]);
    exchange.transport.write(endOfStream(error, trailers));
    exchange.transport.end();
    exchange.finish();
  }

  private beginOnce(metadata: Fields): void {
    const { exchange } = this;
    if (this.begun || exchange.finished) return;
    this.begun = true;
    const contentType = `application/connect+${this.type}`;
    begin(exchange, 200, [['content-type', contentType], ['x-accel-buffering', 'no'], ...passedOn(metadata)]);
  }

  private guarded(work: () => void): void {
    if (this.exchange.finished) return;
    try {
      work();
    } catch (error) {
      this.refuse(transcodeProblem(error));
    }
  }
}
