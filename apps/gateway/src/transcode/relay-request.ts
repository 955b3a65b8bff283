import { Problem, toProblem } from '@sluice/problem';
import { Holding, type Relay } from '@sluice/wire';
import { gunzip } from '../connect/envelope.js';
import type { BodySink, Exchange } from '../exchange.js';
import { Base64Decoder } from './base64.js';
import { afterTenant } from '../tenant/tenant.js';
import { BodyTime } from './body.js';
import { MessageLengths, PREFIX_OCTETS } from './message-lengths.js';
import { noMemory } from './problem.js';

/** Whom the request side of a relayed call is for. */
export interface RelayOpener {
  /** Opens the stream to the upstream; `deadline` as `Date.now()` counts. */
  open(deadline: number): Relay;
  refuse(problem: Problem): void;
}

/**
 * The request side of a relayed call: message frames go on as they are, when none is longer than allowed.
 *
 * Where one message is expected, the method's own time begins when it is there, unless the client asked for one. A call with one message and
 * one answer is sent when it is whole: a place among the calls in flight is for what the service works at, and not for uploads that never end.
 * With one message and many answers the upstream is opened with the second piece or with the end, so that a message in one piece is sent with
 * the time that the method has; with a longer one the upstream is told what it may take at most, and is held to the method's time from its end on.
 */
export class RelayRequest implements BodySink {
  private readonly lengths: MessageLengths;
  private readonly decoder: Base64Decoder | undefined;
  private bodyTime: BodyTime | undefined;
  private relay: Relay | undefined;
  /** What has arrived, while the upstream is not opened. */
  private pieces: Buffer[] = [];
  private size = 0;
  private readonly holding: Holding;
  private readonly whole: boolean;

  constructor(
    private readonly exchange: Exchange,
    private readonly opener: RelayOpener,
    messageMax: number,
  ) {
    this.holding = new Holding(exchange.account, this);
    this.whole = exchange.route.target.method.kind === 'unary';
    this.lengths = new MessageLengths(messageMax);
    if (exchange.route.form === 'grpc-web-text') this.decoder = new Base64Decoder();
  }

  start(): void {
    const { exchange } = this;
    const { transport, head, deadline } = exchange;
    const { kind } = exchange.route.target.method;
    const oneMessage = kind === 'unary' || kind === 'server_stream';
    if (!transport.hasBody) return this.openWhole();
    if (oneMessage) this.bodyTime = new BodyTime(exchange, this);
    exchange.bodyTime = this;
    if (!oneMessage || (head.timeoutMs !== undefined && !this.whole)) this.relay = this.opener.open(deadline);
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
    exchange.stream?.touch();
    if (this.relay === undefined) {
      if (this.whole || this.pieces.length === 0) return this.keep(bytes);
      const { request } = exchange.runtime.config.timeouts;
      this.relay = this.opener.open(Date.now() + request + exchange.route.target.timeoutMs);
      this.writePieces();
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
    if (this.relay === undefined) return this.openWhole();
    if (bodyTime !== undefined) this.relay.setDeadline(exchange.deadline);
    this.writePieces();
    this.relay.end();
  }

  /** All of the request is there, and nothing of it has been sent. */
  private openWhole(): void {
    const { exchange } = this;
    const send = () => {
      this.relay = this.opener.open(exchange.deadline);
      this.writePieces();
      this.relay.end();
    };
    if (exchange.route.target.tenantField === undefined) return send();
    let message: Uint8Array;
    try {
      message = firstMessage(Buffer.concat(this.pieces), encodingOf(exchange), exchange.route.target.bodyMax);
    } catch (error) {
      return this.opener.refuse(toProblem(error));
    }
    afterTenant(exchange, message, send, () => this.takePieces());
  }

  /** The exchange is over, or the body is. */
  stop(): void {
    this.bodyTime?.stop();
    this.takePieces();
  }

  onRoom(): void {
    this.exchange.transport.resumeBody();
  }

  onNoRoom(): void {
    this.opener.refuse(noMemory('The body of the request found no room in memory: clients send more than there is.'));
  }

  private keep(bytes: Buffer): void {
    const { holding, lengths, pieces } = this;
    pieces.push(bytes);
    this.size += bytes.length;
    holding.change(bytes.length + PIECE_OCTETS);
    // More than one message, where one is expected.
    if (this.size > lengths.most + PREFIX_OCTETS) return this.opener.refuse(messageTooLarge(this.size, lengths.most));
    if (!holding.hasRoom()) this.exchange.transport.pauseBody();
  }

  private takePieces(): Buffer[] {
    const { pieces } = this;
    this.pieces = [];
    this.holding.end();
    return pieces;
  }

  private writePieces(): void {
    for (const bytes of this.takePieces()) this.write(bytes);
  }

  private write(bytes: Buffer): void {
    if (!this.relay!.write(bytes)) this.exchange.transport.pauseBody();
  }
}

/** `grpc-encoding` of the request; undefined when there is none. */
function encodingOf({ head }: Exchange): string | undefined {
  return head.passable.find(([name]) => name === 'grpc-encoding')?.[1];
}

/**
 * The first of the message frames; empty when none is whole.
 * @throws Problem UNIMPLEMENTED when it is compressed by something else than gzip, MALFORMED_REQUEST or PAYLOAD_TOO_LARGE
 */
function firstMessage(frames: Buffer, encoding: string | undefined, most: number): Buffer {
  if (frames.length < PREFIX_OCTETS) return frames.subarray(0, 0);
  const message = frames.subarray(PREFIX_OCTETS, PREFIX_OCTETS + frames.readUInt32BE(1));
  if (frames[0] === 0) return message;
  if (encoding === 'gzip') return gunzip(message, most);
  throw new Problem(
    'UNIMPLEMENTED',
    `A message is compressed by ${encoding ?? 'nothing that is named'}: expected gzip.`,
  );
}

/** What a piece takes up besides its octets. */
const PIECE_OCTETS = 100;

export function messageTooLarge(octets: number, most: number): Problem {
  return new Problem('PAYLOAD_TOO_LARGE', `A message of ${octets} bytes is larger than ${most}.`, {
    details: { limit_bytes: most },
  });
}
