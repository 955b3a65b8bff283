import { Problem } from '@sluice/problem';
import type { Binding, RequestStream, ResponseStream } from '@sluice/transcode';
import { type Call, type CallEvents, type Fields, Holding, type Outcome, Timer } from '@sluice/wire';
import type { Exchange } from '../exchange.js';
import { begin, respondProblem } from '../respond/respond.js';
import { restProblem } from '../respond/rest-problem.js';
import { answerStatus, isBodiless, responseHeaders } from '../upstream/answer-fields.js';
import { requestMetadata } from '../upstream/metadata.js';
import type { MethodHandle, Upstream } from '../upstream/upstream.js';
import { readBody } from './body.js';
import { answerOnce, encodeRequest, requireAcceptable } from './unary.js';
import { noMemory, outcomeProblem, transcodeProblem } from './problem.js';

/** REST to a method that streams, on either side or both. */
export function forwardStream(exchange: Exchange): void {
  const { route } = exchange;
  const binding = route.binding!;
  const { place } = route.target;
  if (place.kind === 'local') return respondProblem(exchange, new Problem('UNIMPLEMENTED'));
  const call = new StreamCall(exchange, binding, place.upstream);
  const { kind } = binding.method;
  if (kind === 'server_stream') call.startWithBody(place.handle);
  else call.startWithStream(place.handle);
}

/**
 * One streaming call. Both directions stop each other: the upstream is paused while the client does not read, and the
 * client's body while the upstream does not.
 *
 * As a timer it sees to it that the client hears something: the header fields soon, and in silence a sign of life.
 */
class StreamCall extends Timer implements CallEvents {
  private call: Call | undefined;
  /** The memory of a message whose end has not come. */
  private readonly holding: Holding;
  private metadata: Fields = [];
  private responses: ResponseStream | undefined;
  private lone: Buffer | undefined;
  private begun = false;
  /** Messages wait to leave for the upstream. */
  private upstreamFull = false;
  /** When something was written last, as `Date.now()` counts. */
  private writtenAt = 0;

  constructor(
    private readonly exchange: Exchange,
    private readonly binding: Binding,
    private readonly upstream: Upstream,
  ) {
    super();
    this.holding = new Holding(exchange.account, this);
    exchange.stream?.forwardedBy(this);
  }

  private get streamsResponses(): boolean {
    return this.binding.method.kind !== 'client_stream';
  }

  /** One request message, from the whole body. */
  startWithBody(handle: MethodHandle): void {
    const { exchange } = this;
    readBody(exchange, {
      onBody: (body) =>
        this.guarded(() => {
          const message = encodeRequest(exchange, this.binding, body);
          this.open(handle);
          this.call!.write(message);
          this.call!.end();
        }),
      onBodyFault: (problem) => this.refuse(problem),
    });
  }

  /** Request messages as they arrive, each a JSON value of the body. */
  startWithStream(handle: MethodHandle): void {
    const { exchange, binding } = this;
    const { contentType } = exchange.head;
    let requests: RequestStream;
    try {
      if (!this.streamsResponses) requireAcceptable(exchange);
      const parts = { variables: exchange.variables, query: exchange.query, contentType };
      requests = binding.openRequestStream(parts, exchange.route.target.bodyMax);
      this.open(handle);
    } catch (error) {
      return this.refuse(transcodeProblem(error));
    }
    const call = this.call!;
    const { holding } = this;
    const send = (messages: Uint8Array[]) => {
      if (messages.length > 0) exchange.stream?.touch();
      for (const message of messages) this.upstreamFull = !call.write(message);
      const { held } = requests;
      if (held !== holding.octets) holding.change(held - holding.octets);
      if (this.upstreamFull || (held > 0 && !holding.hasRoom())) exchange.transport.pauseBody();
    };
    const end = () =>
      this.guarded(() => {
        send(requests.end());
        call.end();
      });
    if (!exchange.transport.hasBody) return end();
    exchange.transport.readBody({
      onData: (chunk) => this.guarded(() => send(requests.push(chunk))),
      onEnd: end,
    });
  }

  private open(handle: MethodHandle): void {
    const { exchange, upstream } = this;
    if (this.streamsResponses) this.responses = this.binding.openResponseStream(exchange.head.accept);
    const metadata = requestMetadata(exchange, upstream);
    const { deadline, account } = exchange;
    this.call = upstream.channel.start(handle, metadata, { deadline, account, unlimited: true }, this);
    exchange.work = this.call;
    // Of bytes only the first message says what they are.
    if (this.responses?.contentType) this.waitFor(upstream.config.streams.headers_after);
  }

  onHeaders(fields: Fields): void {
    this.metadata = fields;
    if (this.responses?.contentType && !this.begun)
      this.setTimer(Math.min(SETTLE_MS, this.upstream.config.streams.headers_after));
  }

  private waitFor(ms: number): void {
    if (ms !== Infinity) this.setTimer(ms);
  }

  override onTimeout(): void {
    // What has arrived by now and was not read yet counts first.
    if (!this.begun) return void setImmediate(() => this.guarded(() => this.beginOnce()));
    const { heartbeat } = this.upstream.config.streams;
    const silent = Date.now() - this.writtenAt;
    if (silent < heartbeat) return this.setTimer(heartbeat - silent);
    const { silence } = this.responses!;
    if (silence) this.write(silence);
    this.setTimer(heartbeat);
  }

  /** False: the client reads more slowly than we write. */
  private write(text: Uint8Array): boolean {
    this.writtenAt = Date.now();
    return text.byteLength === 0 || this.exchange.transport.write(text);
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

  onMessage(message: Buffer): void {
    if (this.exchange.finished) return;
    this.exchange.stream?.touch();
    if (!this.responses) {
      this.lone = message;
      return;
    }
    const { responses } = this;
    this.guarded(() => {
      const text = responses.item(message);
      this.beginOnce();
      if (!this.exchange.finished && !this.write(text)) this.call?.pause();
    });
  }

  onEnd(outcome: Outcome): void {
    const { exchange } = this;
    this.holding.end();
    this.clearTimer();
    if (exchange.finished) return;
    if (outcome.code !== 0) return this.refuse(outcomeProblem(outcome, this.metadata, exchange, this.upstream));
    if (this.responses) {
      this.beginOnce();
      this.clearTimer();
      if (exchange.finished) return;
      const rest = this.responses.end();
      if (rest.byteLength > 0) exchange.transport.write(rest);
      exchange.transport.end();
      return exchange.finish();
    }
    if (!this.lone) return this.refuse(new Problem('INTERNAL', '', { cause: 'OK without a message' }));
    answerOnce(exchange, this.binding, this.upstream, this.lone, this.metadata, outcome.trailers);
  }

  private beginOnce(): void {
    if (this.begun || this.exchange.finished) return;
    this.begun = true;
    this.writtenAt = Date.now();
    const contentType = this.responses!.contentType ?? 'application/octet-stream';
    const fields = responseHeaders(contentType, this.metadata, NONE, this.upstream);
    fields.push(['x-accel-buffering', 'no']);
    const status = answerStatus(this.metadata, NONE);
    const { exchange } = this;
    begin(exchange, isBodiless(status) ? 200 : status, fields);
    if (exchange.transport.method !== 'HEAD') return this.waitFor(this.upstream.config.streams.heartbeat);
    // The answer is whole: nobody reads what the service would go on to say.
    exchange.transport.end();
    exchange.finish();
    this.call?.cancel();
  }

  private guarded(work: () => void): void {
    if (this.exchange.finished) return;
    try {
      work();
    } catch (error) {
      this.refuse(transcodeProblem(error));
    }
  }

  /** Before the header fields have gone out a refusal is an answer of its own; after that it is shown in the stream, which never looks complete. */
  refuse(problem: Problem): void {
    const { exchange } = this;
    if (exchange.finished) return;
    if (!this.begun) {
      respondProblem(exchange, problem);
    } else {
      exchange.runtime.log.failed(exchange, problem);
      const { text: told } = restProblem(exchange.runtime.config, problem, exchange.trace.traceId);
      const text = this.responses!.error(told);
      if (text) {
        exchange.transport.write(text);
        exchange.transport.end();
      } else exchange.transport.reset();
      exchange.finish();
    }
    this.call?.cancel();
  }
}

const NONE: Fields = [];

/** A service that fails right after its metadata may still decide on the status, in milliseconds. */
const SETTLE_MS = 20;
