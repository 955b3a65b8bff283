import { Problem } from '@sluice/problem';
import type { Relay } from '@sluice/wire';
import type { BodySink, Exchange } from '../exchange.js';
import { Base64Decoder } from './base64.js';
import { BodyTime } from './body.js';
import { MessageLengths } from './message-lengths.js';

/** Whom the request side of a relayed call is for. */
export interface RelayOpener {
  /** Opens the stream to the upstream; `deadline` as `Date.now()` counts. */
  open(deadline: number): Relay;
  refuse(problem: Problem): void;
}

/**
 * The request side of a relayed call: message frames go on as they are, when none is longer than allowed.
 *
 * Where one message is expected, the method's own time begins when it is there, unless the client asked for one. The upstream is opened with the
 * second piece or with the end, so that a message in one piece, as most are, is sent with the time that the method has; with a longer one
 * the upstream is told what it may take at most, and is held to the method's time from its end on.
 */
export class RelayRequest implements BodySink {
  private readonly lengths: MessageLengths;
  private readonly decoder: Base64Decoder | undefined;
  private bodyTime: BodyTime | undefined;
  private relay: Relay | undefined;
  /** The first piece, while the upstream is not opened. */
  private first: Buffer | undefined;

  constructor(
    private readonly exchange: Exchange,
    private readonly opener: RelayOpener,
    messageMax: number,
  ) {
    this.lengths = new MessageLengths(messageMax);
    if (exchange.route.form === 'grpc-web-text') this.decoder = new Base64Decoder();
  }

  start(): void {
    const { exchange } = this;
    const { transport, head, deadline } = exchange;
    const { kind } = exchange.route.target.method;
    const oneMessage = kind === 'unary' || kind === 'server_stream';
    if (!transport.hasBody) return this.opener.open(deadline).end();
    if (oneMessage) this.bodyTime = new BodyTime(exchange, this);
    exchange.bodyTime = this;
    if (!oneMessage || head.timeoutMs !== undefined) this.relay = this.opener.open(deadline);
    transport.readBody(this);
  }

  onBodyFault(problem: Problem): void {
    this.opener.refuse(problem);
  }

  onData(chunk: Buffer): void {
    const { exchange, lengths } = this;
    if (exchange.finished) return;
    const bytes = this.decoder ? this.decoder.push(chunk) : Buffer.from(chunk);
    if (bytes === undefined) {
      return this.opener.refuse(new Problem('MALFORMED_REQUEST', 'The body is not base64 text.'));
    }
    const excess = lengths.excess(bytes);
    if (excess !== undefined) return this.opener.refuse(messageTooLarge(excess, lengths.most));
    if (bytes.length === 0) return;
    if (this.relay === undefined) {
      if (this.first === undefined) return this.keep(bytes);
      const { request } = exchange.runtime.config.timeouts;
      this.relay = this.opener.open(Date.now() + request + exchange.route.target.timeoutMs);
      this.writeFirst();
    }
    this.write(bytes);
  }

  onEnd(): void {
    const { exchange, bodyTime } = this;
    if (exchange.finished) return;
    if (this.decoder?.whole === false) {
      return this.opener.refuse(new Problem('MALFORMED_REQUEST', 'The base64 text of the body is cut short.'));
    }
    bodyTime?.arrived();
    if (this.relay === undefined) this.relay = this.opener.open(exchange.deadline);
    else if (bodyTime !== undefined) this.relay.setDeadline(exchange.deadline);
    this.writeFirst();
    this.relay.end();
  }

  /** The exchange is over, or the body is. */
  stop(): void {
    this.bodyTime?.stop();
    this.takeFirst();
  }

  private keep(bytes: Buffer): void {
    this.first = bytes;
    this.exchange.account.hold(bytes.length);
  }

  private takeFirst(): Buffer | undefined {
    const { first } = this;
    this.first = undefined;
    if (first !== undefined) this.exchange.account.release(first.length);
    return first;
  }

  private writeFirst(): void {
    const first = this.takeFirst();
    if (first !== undefined) this.write(first);
  }

  private write(bytes: Buffer): void {
    if (!this.relay!.write(bytes)) this.exchange.transport.pauseBody();
  }
}

export function messageTooLarge(octets: number, most: number): Problem {
  return new Problem('PAYLOAD_TOO_LARGE', `A message of ${octets} bytes is larger than ${most}.`, {
    details: { limit_bytes: most },
  });
}
