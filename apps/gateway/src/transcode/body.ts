import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import { Problem } from '@sluice/problem';
import type { Exchange } from '../exchange.js';

const decoders = { gzip: createGunzip, 'x-gzip': createGunzip, deflate: createInflate, br: createBrotliDecompress };

/**
 * The whole body of a request, decoded, within the configured size; calls `take` once, at the end of the body.
 * The bound holds for what was decoded too, so that a small compressed body cannot become a large one.
 *
 * @param fail called instead with PAYLOAD_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE or MALFORMED_REQUEST
 */
export function readBody(
  exchange: Exchange,
  take: (body: Buffer | undefined) => void,
  fail: (problem: Problem) => void,
): void {
  if (!exchange.transport.hasBody) return take(undefined);
  const most = exchange.runtime.config.sizes.body;
  // Refused before it is read: a client that waits for leave to send it never does.
  if (exchange.head.contentLength !== undefined && exchange.head.contentLength > most) return fail(tooLarge(most));
  const chunks: Buffer[] = [];
  let size = 0;
  let over = false;
  const giveUp = (problem: Problem) => {
    over = true;
    chunks.length = 0;
    arrived();
    fail(problem);
  };
  const arrived = limitBodyTime(exchange, giveUp);
  exchange.transport.readBody({
    onData(chunk) {
      if (over) return;
      size += chunk.length;
      if (size > most) return giveUp(tooLarge(most));
      chunks.push(chunk);
    },
    onEnd() {
      if (over) return;
      arrived();
      const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, size);
      const coding = exchange.head.contentEncoding?.toLowerCase();
      if (coding === undefined || coding === 'identity') return take(body);
      decode(coding, body, most, take, fail);
    },
  });
}

/** A body that is awaited. */
class AwaitedBody {
  constructor(
    private readonly exchange: Exchange,
    private readonly until: number,
    private readonly fail: (problem: Problem) => void,
  ) {}

  /** @returns whether it is of no more interest */
  check(now: number): boolean {
    if (this.exchange.finished) return true;
    if (now < this.until) return false;
    this.fail(
      now >= this.exchange.deadline
        ? new Problem('DEADLINE_EXCEEDED', 'The body did not arrive before the deadline.')
        : new Problem('REQUEST_TIMEOUT', 'The body did not arrive in time.'),
    );
    return true;
  }
}

/** Bodies are late seldom, and awaited with every call: one look at all of them now and then is cheaper than a timer each. */
const awaited = new Set<AwaitedBody>();
const LOOK_MS = 50;
let looking: NodeJS.Timeout | undefined;

function look(): void {
  const now = Date.now();
  for (const body of awaited) if (body.check(now)) awaited.delete(body);
}

/**
 * Calls `fail` when the body has not ended within `timeouts.request`, or by the call's deadline if that comes first.
 *
 * @returns to be called at the body's end
 */
export function limitBodyTime(exchange: Exchange, fail: (problem: Problem) => void): () => void {
  const until = Math.min(exchange.deadline, Date.now() + exchange.runtime.config.timeouts.request);
  const body = new AwaitedBody(exchange, until, fail);
  awaited.add(body);
  looking ??= setInterval(look, LOOK_MS).unref();
  return () => awaited.delete(body);
}

function decode(
  coding: string,
  body: Buffer,
  most: number,
  take: (body: Buffer) => void,
  fail: (problem: Problem) => void,
): void {
  if (!Object.hasOwn(decoders, coding)) {
    return fail(
      new Problem('UNSUPPORTED_MEDIA_TYPE', `Content-Encoding: expected one of ${Object.keys(decoders).join(', ')}.`, {
        headers: { 'accept-encoding': 'gzip, deflate, br' },
      }),
    );
  }
  const decoder = decoders[coding as keyof typeof decoders]();
  const chunks: Buffer[] = [];
  let size = 0;
  decoder.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size > most) decoder.destroy(tooLarge(most));
    else chunks.push(chunk);
  });
  decoder.on('end', () => take(Buffer.concat(chunks, size)));
  decoder.on('error', (error) =>
    fail(error instanceof Problem ? error : new Problem('MALFORMED_REQUEST', `The body is not valid ${coding}.`)),
  );
  decoder.end(body);
}

function tooLarge(most: number): Problem {
  return new Problem('PAYLOAD_TOO_LARGE', `The body is larger than ${most} bytes.`, { details: { limit_bytes: most } });
}
