import type { Transform } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import { Problem } from '@sluice/problem';
import { Holding, messageMemory, Timer } from '@sluice/wire';
import type { BodySink, Exchange } from '../exchange.js';
import { noMemory } from './problem.js';

const decoders = { gzip: createGunzip, 'x-gzip': createGunzip, deflate: createInflate, br: createBrotliDecompress };

/** Who waits for the body of a request; exactly one of the two is called, once, unless the exchange ends before. */
export interface BodyTaker {
  /** The whole body, decoded; undefined when the request has none. It is the callee's until it returns. */
  onBody(body: Buffer | undefined): void;
  /** PAYLOAD_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, MALFORMED_REQUEST, REQUEST_TIMEOUT, DEADLINE_EXCEEDED or OVERLOADED. */
  onBodyFault(problem: Problem): void;
}

/**
 * Reads the whole body of a request, within the size that its method allows, the configured time, and the memory that there is for the client.
 * The bounds hold for what was decoded too, so that a small compressed body cannot become a large one.
 */
export function readBody(exchange: Exchange, taker: BodyTaker): void {
  const { head, transport, route } = exchange;
  const most = route.target.bodyMax;
  const announced = head.contentLength;
  if (!transport.hasBody) return taker.onBody(undefined);
  // Refused before it is read: a client that waits for leave to send it never does.
  if (announced !== undefined && announced > most) return taker.onBodyFault(tooLarge(most));
  const coding = head.contentEncoding?.toLowerCase();
  if (coding !== undefined && coding !== 'identity') return readCodedBody(exchange, coding, taker);
  transport.readBody(transport.bodyHere ? new BodyHere(exchange, taker) : new WholeBody(exchange, taker));
}

function readCodedBody(exchange: Exchange, coding: string, taker: BodyTaker): void {
  if (Object.hasOwn(decoders, coding)) {
    const decoder = decoders[coding as keyof typeof decoders]();
    return exchange.transport.readBody(new CodedBody(exchange, taker, coding, decoder));
  }
  taker.onBodyFault(
    new Problem('UNSUPPORTED_MEDIA_TYPE', `Content-Encoding: expected one of ${Object.keys(decoders).join(', ')}.`, {
      headers: { 'accept-encoding': 'gzip, deflate, br' },
    }),
  );
}

/** A body that comes in one piece, and is used before its octets are taken back: it is not copied, and cannot be late. */
class BodyHere implements BodySink {
  private body: Buffer | undefined;

  constructor(
    private readonly exchange: Exchange,
    private readonly taker: BodyTaker,
  ) {}

  onData(chunk: Buffer): void {
    this.body = chunk;
  }

  onEnd(): void {
    if (!this.exchange.finished) this.taker.onBody(this.body);
  }
}

/**
 * Refuses a body that has not ended within `timeouts.request`, or by the deadline that the client asked for if that comes first.
 * The time that the method has by itself begins when the body is there: how long an upload takes says nothing of the method.
 */
export class BodyTime extends Timer {
  constructor(
    protected readonly exchange: Exchange,
    protected readonly taker: Pick<BodyTaker, 'onBodyFault'>,
  ) {
    super();
    const { head, deadline, runtime } = exchange;
    const { request } = runtime.config.timeouts;
    exchange.bodyTime = this;
    this.setTimer(head.timeoutMs === undefined ? request : Math.min(deadline - Date.now(), request));
  }

  override onTimeout(): void {
    const { head, deadline } = this.exchange;
    this.taker.onBodyFault(
      head.timeoutMs !== undefined && Date.now() >= deadline
        ? new Problem('DEADLINE_EXCEEDED', 'The body did not arrive before the deadline.')
        : new Problem('REQUEST_TIMEOUT', 'The body did not arrive in time.'),
    );
  }

  /** The body is there. */
  arrived(): void {
    const { exchange } = this;
    this.stop();
    if (exchange.head.timeoutMs === undefined) exchange.deadline = Date.now() + exchange.route.target.timeoutMs;
  }

  /** No body is awaited any more. */
  stop(): void {
    this.clearTimer();
  }
}

/** Collects a body. What it holds of it is counted for the client; a large one waits while there is no room. */
class WholeBody extends BodyTime implements BodySink {
  protected readonly holding: Holding;
  /** What has arrived: `body[0, size)`. */
  private body: Buffer | undefined;
  private size = 0;

  constructor(
    exchange: Exchange,
    protected override readonly taker: BodyTaker,
  ) {
    super(exchange, taker);
    this.holding = new Holding(exchange.account, this);
  }

  onData(chunk: Buffer): void {
    if (!this.exchange.finished) this.collect(chunk, this.exchange.head.contentLength ?? 0);
  }

  onEnd(): void {
    if (!this.exchange.finished) this.complete();
  }

  /** @param announced octets of all of it, as far as is known */
  protected collect(chunk: Buffer, announced: number): void {
    const from = this.size;
    this.size += chunk.length;
    const most = this.exchange.route.target.bodyMax;
    if (this.size > most) return this.fail(tooLarge(most));
    if (this.body === undefined || this.size > this.body.length) this.grow(from, announced);
    chunk.copy(this.body!, from);
    if (!this.holding.hasRoom()) this.pause();
  }

  /** Makes room for `size` octets, `kept` of which are there. */
  private grow(kept: number, announced: number): void {
    const { body, size } = this;
    const larger = messageMemory.take(Math.max(size, Math.min(announced, FIRST_OCTETS), kept * 2));
    this.holding.change(larger.length - (body === undefined ? 0 : body.length));
    body?.copy(larger, 0, 0, kept);
    if (body) messageMemory.give(body);
    this.body = larger;
  }

  /** Nothing more is to arrive for now. */
  protected pause(): void {
    this.exchange.transport.pauseBody();
  }

  onRoom(): void {
    this.exchange.transport.resumeBody();
  }

  onNoRoom(): void {
    this.fail(noMemory('The body of the request found no room in memory: clients send more than there is.'));
  }

  protected complete(): void {
    const { body, size, taker } = this;
    this.body = undefined;
    this.arrived();
    taker.onBody(body === undefined ? NOTHING : body.subarray(0, size));
    if (body !== undefined) messageMemory.give(body);
  }

  protected fail(problem: Problem): void {
    this.stop();
    this.taker.onBodyFault(problem);
  }

  override stop(): void {
    super.stop();
    if (this.body !== undefined) messageMemory.give(this.body);
    this.body = undefined;
    this.holding.end();
  }
}

/** Decodes a body as it arrives, and collects what it decodes to. */
class CodedBody extends WholeBody {
  /** Octets before decoding. */
  private received = 0;

  constructor(
    exchange: Exchange,
    taker: BodyTaker,
    coding: string,
    private readonly decoder: Transform,
  ) {
    super(exchange, taker);
    this.holding.change(CODER_OCTETS);
    decoder.on('data', (chunk: Buffer) => {
      if (!exchange.finished) this.collect(chunk, 0);
    });
    decoder.on('drain', () => exchange.transport.resumeBody());
    decoder.on('end', () => super.onEnd());
    decoder.on('error', () => {
      if (!exchange.finished) this.fail(new Problem('MALFORMED_REQUEST', `The body is not valid ${coding}.`));
    });
  }

  override onData(chunk: Buffer): void {
    if (this.decoder.destroyed) return;
    this.received += chunk.length;
    const most = this.exchange.route.target.bodyMax;
    if (this.received > most) return this.fail(tooLarge(most));
    if (!this.decoder.write(Buffer.from(chunk))) this.exchange.transport.pauseBody();
  }

  override onEnd(): void {
    this.decoder.end();
  }

  protected override pause(): void {
    this.decoder.pause();
  }

  override onRoom(): void {
    this.decoder.resume();
  }

  override stop(): void {
    super.stop();
    this.decoder.destroy();
  }
}

const NOTHING = Buffer.alloc(0);
/** Reserved at once for what was announced; beyond it, by doubling, so that who announces much does not get much. */
const FIRST_OCTETS = 131_072;
/** What a decoder takes up besides what it gives out. */
const CODER_OCTETS = 65_536;

function tooLarge(most: number): Problem {
  return new Problem('PAYLOAD_TOO_LARGE', `The body is larger than ${most} bytes.`, { details: { limit_bytes: most } });
}
