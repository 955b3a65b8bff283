/**
 * gRPC's framing of messages inside DATA (gRPC over HTTP/2, "Length-Prefixed-Message"):
 *
 *   Compressed-Flag (8), Message-Length (32), Message
 */
import { Buffer } from 'node:buffer';
import { gunzipSync, gzipSync } from 'node:zlib';
import { readUint32, writeUint32 } from '../http2/frames.js';
import type { Holding } from '../memory/holding.js';
import { messageMemory } from '../sockets/page-pool.js';
import { Status } from './status.js';

export const MESSAGE_PREFIX_OCTETS = 5;

/** A message that cannot be accepted, and the status that says so. */
export class MessageError extends Error {
  override readonly name = 'MessageError';

  constructor(
    readonly code: number,
    message: string,
  ) {
    super(message);
  }
}

/** Takes messages in order; true asks for a pause before the next. */
export interface MessageSink {
  onWireMessage(message: Buffer): void;
  /** No further message may be delivered now. */
  readonly stopped: boolean;
}

export type Encoding = 'identity' | 'gzip';

export class MessageReader {
  encoding: Encoding = 'identity';
  /** In the middle of delivering. */
  busy = false;
  /** What has not been read yet of the last chunk, when the sink asked to stop. */
  private rest: Buffer | undefined;
  /** A message or prefix cut by a chunk's end. */
  private partial: Buffer | undefined;
  private have = 0;
  private need = 0;

  constructor(
    private readonly sink: MessageSink,
    private readonly maxBytes: number,
    /** Counts what an unfinished message and what was not read yet take up. */
    private readonly holding?: Holding,
  ) {}

  /** Nothing is left over: no incomplete message and nothing unread. */
  get empty(): boolean {
    return this.have === 0 && this.rest === undefined;
  }

  get hasUnread(): boolean {
    return this.rest !== undefined;
  }

  /** The chunk is read, not kept. @throws MessageError */
  push(chunk: Buffer): void {
    let bytes = chunk;
    if (this.rest !== undefined) {
      bytes = Buffer.concat([this.rest, chunk]);
      this.hold(-this.rest.length);
      this.rest = undefined;
    }
    this.busy = true;
    let at = 0;
    while (at < bytes.length) {
      if (this.sink.stopped) {
        this.rest = Buffer.from(bytes.subarray(at));
        this.hold(this.rest.length);
        break;
      }
      at = this.have > 0 ? this.fill(bytes, at) : this.whole(bytes, at);
    }
    this.busy = false;
  }

  /** Goes on with what was left when the sink asked to stop. @throws MessageError */
  resume(): void {
    const rest = this.rest;
    if (rest === undefined) return;
    this.rest = undefined;
    this.hold(-rest.length);
    this.push(rest);
  }

  /** Delivers a message that lies whole in the chunk, or begins a partial one. */
  private whole(bytes: Buffer, at: number): number {
    const left = bytes.length - at;
    if (left >= MESSAGE_PREFIX_OCTETS) {
      const length = this.lengthAt(bytes, at);
      const end = at + MESSAGE_PREFIX_OCTETS + length;
      if (end <= bytes.length) {
        this.deliver(bytes[at]!, copyOf(bytes, at + MESSAGE_PREFIX_OCTETS, end));
        return end;
      }
      this.need = MESSAGE_PREFIX_OCTETS + length;
    } else this.need = MESSAGE_PREFIX_OCTETS;
    // Beyond the first step it grows as it fills: a prefix that announces much does not get much.
    this.partial = messageMemory.take(Math.min(this.need, Math.max(FIRST_OCTETS, left * 2)));
    this.hold(this.partial.length);
    return this.fill(bytes, at);
  }

  private fill(bytes: Buffer, at: number): number {
    const take = Math.min(this.need - this.have, bytes.length - at);
    let partial = this.partial!;
    if (this.have + take > partial.length) {
      const larger = messageMemory.take(
        Math.min(this.need, Math.max(this.have + take, partial.length * 2, FIRST_OCTETS)),
      );
      partial.copy(larger, 0, 0, this.have);
      this.hold(larger.length - partial.length);
      messageMemory.give(partial);
      this.partial = partial = larger;
    }
    bytes.copy(partial, this.have, at, at + take);
    this.have += take;
    if (this.have === this.need) {
      const total = MESSAGE_PREFIX_OCTETS + this.lengthAt(partial, 0);
      if (this.need < total) this.need = total;
      else {
        this.hold(-partial.length);
        this.partial = undefined;
        this.have = 0;
        this.deliver(partial[0]!, partial.subarray(MESSAGE_PREFIX_OCTETS, total));
      }
    }
    return at + take;
  }

  private hold(octets: number): void {
    this.holding?.change(octets);
  }

  private lengthAt(bytes: Buffer, at: number): number {
    const length = readUint32(bytes, at + 1);
    if (length > this.maxBytes) {
      throw new MessageError(Status.RESOURCE_EXHAUSTED, `a message of ${length} octets; ${this.maxBytes} are allowed`);
    }
    return length;
  }

  private deliver(flag: number, message: Buffer): void {
    if (flag === 0) return this.sink.onWireMessage(message);
    if (flag !== 1 || this.encoding !== 'gzip') {
      throw new MessageError(Status.INTERNAL, 'a compressed message without a known grpc-encoding');
    }
    const whole = decompress(message, this.maxBytes);
    messageMemory.give(message);
    this.sink.onWireMessage(whole);
  }
}

/** A message is its receiver's to keep. */
export function copyOf(bytes: Buffer, start: number, end: number): Buffer {
  const copy = Buffer.allocUnsafe(end - start);
  bytes.copy(copy, 0, start, end);
  return copy;
}

/** Reserved at once for a message; memory that is not written to costs nothing yet. */
const FIRST_OCTETS = 131_072;

function decompress(message: Buffer, maxBytes: number): Buffer {
  try {
    return gunzipSync(message, { maxOutputLength: Math.max(1, maxBytes) });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') {
      throw new MessageError(Status.RESOURCE_EXHAUSTED, `a message above ${maxBytes} octets when decompressed`);
    }
    throw new MessageError(Status.INTERNAL, 'a message that is not gzip as announced');
  }
}

/** Messages below this size do not gain from compression. */
const COMPRESS_FROM_OCTETS = 256;

/** A message with its prefix; for large ones the prefix stands alone, so that the message is not copied. */
export function frameMessage(message: Uint8Array, encoding: Encoding): Uint8Array[] {
  const compressed = encoding === 'gzip' && message.length >= COMPRESS_FROM_OCTETS;
  const body = compressed ? gzipSync(message) : message;
  const joined = body.length <= JOIN_OCTETS;
  const frame = Buffer.allocUnsafe(MESSAGE_PREFIX_OCTETS + (joined ? body.length : 0));
  writeMessagePrefix(frame, 0, body.length, compressed);
  if (!joined) return [frame, body];
  frame.set(body, MESSAGE_PREFIX_OCTETS);
  return [frame];
}

const JOIN_OCTETS = 8_192;

/** Returns the offset of the message. */
export function writeMessagePrefix(target: Uint8Array, at: number, length: number, compressed: boolean): number {
  target[at] = compressed ? 1 : 0;
  return writeUint32(target, at + 1, length);
}
