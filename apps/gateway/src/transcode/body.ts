import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import { Problem } from '@sluice/problem';
import { messageMemory, Timer } from '@sluice/wire';
import type { BodySink, Exchange } from '../exchange.js';

const decoders = { gzip: createGunzip, 'x-gzip': createGunzip, deflate: createInflate, br: createBrotliDecompress };

/** Who waits for the body of a request; exactly one of the two is called, once, unless the exchange ends before. */
export interface BodyTaker {
  /** The whole body, decoded; undefined when the request has none. It is the callee's until it returns. */
  onBody(body: Buffer | undefined): void;
  /** PAYLOAD_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, MALFORMED_REQUEST, REQUEST_TIMEOUT or DEADLINE_EXCEEDED. */
  onBodyFault(problem: Problem): void;
}

/**
 * Reads the whole body of a request, within the configured size and time. The bound holds for what was decoded too, so
 * that a small compressed body cannot become a large one.
 */
export function readBody(exchange: Exchange, taker: BodyTaker): void {
  const most = exchange.runtime.config.sizes.body;
  const announced = exchange.head.contentLength;
  if (!exchange.transport.hasBody) taker.onBody(undefined);
  // Refused before it is read: a client that waits for leave to send it never does.
  else if (announced !== undefined && announced > most) taker.onBodyFault(tooLarge(most));
  else if (exchange.transport.bodyHere && exchange.head.contentEncoding === undefined) {
    exchange.transport.readBody(new BodyHere(exchange, taker));
  } else exchange.transport.readBody(new WholeBody(exchange, taker));
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

/** Refuses a body that has not ended within `timeouts.request`, or by the call's deadline if that comes first. */
export class BodyTime extends Timer {
  constructor(
    protected readonly exchange: Exchange,
    protected readonly taker: Pick<BodyTaker, 'onBodyFault'>,
  ) {
    super();
    const { deadline, runtime } = exchange;
    exchange.bodyTime = this;
    this.setTimer(Math.min(deadline - Date.now(), runtime.config.timeouts.request));
  }

  override onTimeout(): void {
    this.taker.onBodyFault(
      Date.now() >= this.exchange.deadline
        ? new Problem('DEADLINE_EXCEEDED', 'The body did not arrive before the deadline.')
        : new Problem('REQUEST_TIMEOUT', 'The body did not arrive in time.'),
    );
  }
}

class WholeBody extends BodyTime implements BodySink {
  /** What has arrived: `body[0, size)`. */
  private body: Buffer | undefined;
  private size = 0;

  constructor(
    exchange: Exchange,
    protected override readonly taker: BodyTaker,
  ) {
    super(exchange, taker);
  }

  onData(chunk: Buffer): void {
    if (this.exchange.finished) return;
    const from = this.size;
    this.size += chunk.length;
    const most = this.exchange.runtime.config.sizes.body;
    if (this.size <= most) {
      if (this.body === undefined || this.size > this.body.length) this.grow(from);
      chunk.copy(this.body!, from);
      return;
    }
    this.body = undefined;
    this.clearTimer();
    this.taker.onBodyFault(tooLarge(most));
  }

  /** Makes room for `size` octets, `kept` of which are there. */
  private grow(kept: number): void {
    const { body, size, exchange } = this;
    const announced = Math.min(exchange.head.contentLength ?? 0, FIRST_OCTETS);
    const larger = messageMemory.take(Math.max(size, announced, kept * 2));
    body?.copy(larger, 0, 0, kept);
    if (body) messageMemory.give(body);
    this.body = larger;
  }

  onEnd(): void {
    const { exchange, taker } = this;
    if (exchange.finished) return;
    this.clearTimer();
    const body = this.body === undefined ? NOTHING : this.body.subarray(0, this.size);
    const coding = exchange.head.contentEncoding?.toLowerCase();
    if (coding !== undefined && coding !== 'identity') return decode(coding, body, exchange, taker);
    taker.onBody(body);
    messageMemory.give(body);
  }
}

const NOTHING = Buffer.alloc(0);
/** Reserved at once for what was announced; beyond it, by doubling, so that who announces much does not get much. */
const FIRST_OCTETS = 131_072;

function decode(coding: string, body: Buffer, exchange: Exchange, taker: BodyTaker): void {
  if (!Object.hasOwn(decoders, coding)) {
    return taker.onBodyFault(
      new Problem('UNSUPPORTED_MEDIA_TYPE', `Content-Encoding: expected one of ${Object.keys(decoders).join(', ')}.`, {
        headers: { 'accept-encoding': 'gzip, deflate, br' },
      }),
    );
  }
  const decoder = decoders[coding as keyof typeof decoders]();
  const most = exchange.runtime.config.sizes.body;
  const chunks: Buffer[] = [];
  let size = 0;
  decoder.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size > most) decoder.destroy(tooLarge(most));
    else chunks.push(chunk);
  });
  decoder.on('end', () => {
    if (!exchange.finished) taker.onBody(Buffer.concat(chunks, size));
  });
  decoder.on('error', (error) =>
    taker.onBodyFault(
      error instanceof Problem ? error : new Problem('MALFORMED_REQUEST', `The body is not valid ${coding}.`),
    ),
  );
  decoder.end(body);
}

function tooLarge(most: number): Problem {
  return new Problem('PAYLOAD_TOO_LARGE', `The body is larger than ${most} bytes.`, { details: { limit_bytes: most } });
}
