import { Problem, toProblemDocument } from '@sluice/problem';
import type { Binding, RequestStream, ResponseStream } from '@sluice/transcode';
import { type Call, type CallEvents, type Fields, Holding, type Outcome } from '@sluice/wire';
import type { Exchange } from '../exchange.js';
import { begin, respondProblem } from '../respond/respond.js';
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
 */
class StreamCall implements CallEvents {
  private call: Call | undefined;
  /** The memory of a message whose end has not come. */
  private readonly holding: Holding;
  private metadata: Fields = [];
  private responses: ResponseStream | undefined;
  private lone: Buffer | undefined;
  private begun = false;
  /** Messages wait to leave for the upstream. */
  private upstreamFull = false;

  constructor(
    private readonly exchange: Exchange,
    private readonly binding: Binding,
    private readonly upstream: Upstream,
  ) {
    this.holding = new Holding(exchange.account, this);
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
    const metadata = requestMetadata(exchange, upstream, exchange.runtime.secret);
    const { deadline, account } = exchange;
    this.call = upstream.channel.start(handle, metadata, { deadline, account, unlimited: true }, this);
    exchange.work = this.call;
  }

  onHeaders(fields: Fields): void {
    this.metadata = fields;
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
    if (!this.responses) {
      this.lone = message;
      return;
    }
    const { responses } = this;
    this.guarded(() => {
      const text = responses.item(message);
      this.beginOnce();
      if (!this.exchange.transport.write(text)) this.call?.pause();
    });
  }

  onEnd(outcome: Outcome): void {
    const { exchange } = this;
    this.holding.end();
    if (exchange.finished) return;
    if (outcome.code !== 0) return this.refuse(outcomeProblem(outcome, this.metadata, this.upstream));
    if (this.responses) {
      this.beginOnce();
      const rest = this.responses.end();
      if (rest.byteLength > 0) exchange.transport.write(rest);
      exchange.transport.end();
      return exchange.finish();
    }
    if (!this.lone) return this.refuse(new Problem('INTERNAL', '', { cause: 'OK without a message' }));
    answerOnce(exchange, this.binding, this.upstream, this.lone, this.metadata, outcome.trailers);
  }

  private beginOnce(): void {
    if (this.begun) return;
    this.begun = true;
    const contentType = this.responses!.contentType ?? 'application/octet-stream';
    const fields = responseHeaders(contentType, this.metadata, NONE, this.upstream);
    fields.push(['x-accel-buffering', 'no']);
    const status = answerStatus(this.metadata, NONE);
    begin(this.exchange, isBodiless(status) ? 200 : status, fields);
  }

  private guarded(work: () => void): void {
    if (this.exchange.finished) return;
    try {
      work();
    } catch (error) {
      this.refuse(transcodeProblem(error));
    }
  }

  /** Before the first message a refusal is an answer of its own; after it, it is shown in the stream, which never looks complete. */
  private refuse(problem: Problem): void {
    const { exchange } = this;
    if (exchange.finished) return;
    if (!this.begun) {
      respondProblem(exchange, problem);
    } else {
      exchange.runtime.log.failed(exchange, problem);
      const text = this.responses!.error(JSON.stringify(toProblemDocument(problem, exchange.trace.traceId)));
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
