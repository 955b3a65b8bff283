import { Buffer } from 'node:buffer';

/**
 * Buffers of a few sizes that are used again and again. What the garbage collector has not found yet is as good as held: with a
 * new buffer for each use, a process under load holds tens of megabytes of dead ones, and at times twice that.
 */
export class PagePool {
  private readonly spare: Buffer[] = [];

  constructor(
    readonly octets: number,
    /** Pages that are kept for the next use; more than these are garbage. */
    private readonly spareMax: number,
  ) {}

  take(): Buffer {
    return this.spare.pop() ?? Buffer.allocUnsafeSlow(this.octets);
  }

  give(page: Buffer): void {
    if (this.spare.length < this.spareMax) this.spare.push(page);
  }
}

/** What leaves on a socket stands in these. */
export const pages = new PagePool(32_768, 256);
/** Where the calls of many clients leave on one socket: what a turn has for it should be one write. */
export const widePages = new PagePool(131_072, 32);
/** What has to wait for its turn, in pieces of a frame's size. */
export const tails = new PagePool(16_384, 256);

/**
 * Memory for whole messages and bodies, by powers of two. Smaller ones come from Node's own slabs, larger ones are rare. What is not given
 * back is garbage like any other.
 */
export class MessageMemory {
  private readonly pools: PagePool[] = [];
  /** What is out: only that is taken back, and only once. */
  private readonly lent = new WeakSet<ArrayBufferLike>();

  constructor() {
    for (let octets = POOLED_OCTETS_MIN; octets <= POOLED_OCTETS_MAX; octets *= 2) {
      this.pools.push(new PagePool(octets, SPARE_OCTETS / octets));
    }
  }

  /** A buffer of so many octets, with anything in it. */
  take(octets: number): Buffer {
    if (octets < TAKEN_OCTETS_MIN || octets > POOLED_OCTETS_MAX) return Buffer.allocUnsafe(octets);
    const page = this.pools.find((pool) => pool.octets >= octets)!.take();
    this.lent.add(page.buffer);
    return page.subarray(0, octets);
  }

  /** Nobody refers to the octets any more: a buffer from {@link take} or a large part of one; another is left alone. */
  give(bytes: Uint8Array): void {
    if (bytes.byteLength < TAKEN_OCTETS_MIN) return;
    const { buffer } = bytes;
    if (!this.lent.delete(buffer)) return;
    this.pools.find((pool) => pool.octets === buffer.byteLength)!.give(Buffer.from(buffer));
  }
}

const POOLED_OCTETS_MIN = 32_768;
/** Fewer octets are not worth a page. */
const TAKEN_OCTETS_MIN = 16_384;
const POOLED_OCTETS_MAX = 1_048_576;
/** Kept for the next use, of each size. */
const SPARE_OCTETS = 4_194_304;

/** One for the process. */
export const messageMemory = new MessageMemory();
