/**
 * Frames (RFC 9113 §4.1): nine octets of header, then the payload.
 *
 *   Length (24), Type (8), Flags (8), Reserved (1), Stream Identifier (31), Frame Payload (Length)
 */
import { PagePool } from '../sockets/page-pool.js';
import { ConnectionError, ErrorCode } from './errors.js';

export const FrameType = {
  DATA: 0x0,
  HEADERS: 0x1,
  PRIORITY: 0x2,
  RST_STREAM: 0x3,
  SETTINGS: 0x4,
  PUSH_PROMISE: 0x5,
  PING: 0x6,
  GOAWAY: 0x7,
  WINDOW_UPDATE: 0x8,
  CONTINUATION: 0x9,
} as const;

export const Flag = {
  ACK: 0x1,
  END_STREAM: 0x1,
  END_HEADERS: 0x4,
  PADDED: 0x8,
  PRIORITY: 0x20,
} as const;

export const FRAME_HEADER_OCTETS = 9;
/** The protocol's initial and smallest SETTINGS_MAX_FRAME_SIZE (RFC 9113 §6.5.2). */
export const INITIAL_MAX_FRAME_SIZE = 16_384;
/** What a client sends first (RFC 9113 §3.4). */
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

/** Writes a frame's header; returns the offset of its payload. */
export function writeFrameHeader(
  target: Uint8Array,
  at: number,
  length: number,
  type: number,
  flags: number,
  streamId: number,
): number {
  target[at] = length >>> 16;
  target[at + 1] = length >>> 8;
  target[at + 2] = length;
  target[at + 3] = type;
  target[at + 4] = flags;
  return writeUint32(target, at + 5, streamId);
}

export function writeUint32(target: Uint8Array, at: number, value: number): number {
  target[at] = value >>> 24;
  target[at + 1] = value >>> 16;
  target[at + 2] = value >>> 8;
  target[at + 3] = value;
  return at + 4;
}

/** An unsigned 32-bit integer in network order. */
export function readUint32(source: Uint8Array, at: number): number {
  return ((source[at]! << 24) | (source[at + 1]! << 16) | (source[at + 2]! << 8) | source[at + 3]!) >>> 0;
}

/** A 31-bit integer in network order; the reserved bit is ignored (RFC 9113 §4.1). */
export function readUint31(source: Uint8Array, at: number): number {
  return ((source[at]! & 0x7f) << 24) | (source[at + 1]! << 16) | (source[at + 2]! << 8) | source[at + 3]!;
}

/** Takes the frames of a connection in order. */
export interface FrameSink {
  /** One whole frame, its payload at `bytes[start, end)`, which is the callee's until it returns. False ends reading. */
  onFrame(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): boolean;
}

/** A beginning above this size waits in a buffer for a whole frame, a smaller one in a buffer of its own size. */
const SMALL_OCTETS = 4_096;
const SPARE_FRAMES = 64;
const wholeFrames = new PagePool(FRAME_HEADER_OCTETS + INITIAL_MAX_FRAME_SIZE, SPARE_FRAMES);

function roomFor(octets: number): Buffer {
  const pooled = octets > SMALL_OCTETS && octets <= wholeFrames.octets;
  return pooled ? wholeFrames.take() : Buffer.allocUnsafe(octets);
}

function giveBack(buffer: Buffer): void {
  if (buffer.length === wholeFrames.octets) wholeFrames.give(buffer);
}

/** Cuts what arrives on a socket into frames. A frame cut by a read is kept until its rest arrives. */
export class FrameReader {
  /** The beginning of a frame that is not whole yet: `kept[0, keptLength)`. */
  private kept: Buffer | undefined;
  private keptLength = 0;

  constructor(
    private readonly sink: FrameSink,
    /** What our SETTINGS_MAX_FRAME_SIZE allows. */
    private readonly maxFrameSize: number,
  ) {}

  /** Octets of an incomplete frame. */
  get keptBytes(): number {
    return this.keptLength;
  }

  /** @throws ConnectionError FRAME_SIZE_ERROR for a frame above the limit (§4.2), and whatever the sink throws. */
  push(chunk: Buffer): void {
    let at = 0;
    while (this.kept !== undefined) {
      at = this.complete(chunk, at);
      if (at < 0) return;
    }
    const end = chunk.length;
    while (end - at >= FRAME_HEADER_OCTETS) {
      const length = this.lengthAt(chunk, at);
      const payload = at + FRAME_HEADER_OCTETS;
      const next = payload + length;
      if (next > end) break;
      if (!this.sink.onFrame(chunk[at + 3]!, chunk[at + 4]!, readUint31(chunk, at + 5), chunk, payload, next)) return;
      at = next;
    }
    if (at < end) this.keep(chunk, at);
  }

  private lengthAt(bytes: Buffer, at: number): number {
    const length = (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
    if (length > this.maxFrameSize) {
      throw new ConnectionError(
        ErrorCode.FRAME_SIZE_ERROR,
        `a frame of ${length} octets; ${this.maxFrameSize} are allowed`,
      );
    }
    return length;
  }

  /** Keeps the rest of a chunk, which is less than a frame. */
  private keep(chunk: Buffer, from: number): void {
    const length = chunk.length - from;
    if (length >= FRAME_HEADER_OCTETS) this.lengthAt(chunk, from);
    this.kept = roomFor(Math.max(length, FRAME_HEADER_OCTETS));
    chunk.copy(this.kept, 0, from);
    this.keptLength = length;
  }

  /** Adds to the kept frame from the chunk; returns the offset after what it took, or -1 when the chunk is used up. */
  private complete(chunk: Buffer, from: number): number {
    let kept = this.kept!;
    let wanted = FRAME_HEADER_OCTETS;
    if (this.keptLength >= FRAME_HEADER_OCTETS) wanted += this.lengthAt(kept, 0);
    const take = Math.min(wanted - this.keptLength, chunk.length - from);
    if (this.keptLength + take > kept.length) {
      // Grown by doubling: nine octets of header reserve nothing, and a byte at a time copies little.
      const larger = roomFor(Math.min(wanted, Math.max(this.keptLength + take, kept.length * 2)));
      kept.copy(larger, 0, 0, this.keptLength);
      giveBack(kept);
      this.kept = kept = larger;
    }
    chunk.copy(kept, this.keptLength, from, from + take);
    this.keptLength += take;
    if (this.keptLength < FRAME_HEADER_OCTETS) return -1;
    if (this.keptLength < FRAME_HEADER_OCTETS + this.lengthAt(kept, 0))
      return from + take < chunk.length ? from + take : -1;
    const length = this.keptLength;
    this.kept = undefined;
    this.keptLength = 0;
    const more = this.sink.onFrame(kept[3]!, kept[4]!, readUint31(kept, 5), kept, FRAME_HEADER_OCTETS, length);
    giveBack(kept);
    return more ? from + take : -1;
  }
}
