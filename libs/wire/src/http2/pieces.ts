/** From this size on a piece gets a buffer of its own. */
const SMALL_OCTETS = 4_096;
const JOINED_OCTETS_MAX = 16_384;
const NOTHING = Buffer.alloc(0);

/**
 * Copies of octets that arrived in pieces and are wanted later. A buffer of one octet takes a hundred: small pieces are
 * copied together, so that what is held is about what has arrived.
 */
export class Pieces {
  /** Octets held. */
  octets = 0;
  private readonly whole: Buffer[] = [];
  /** Where small pieces are copied: `tail[0, used)` stands after the whole ones. */
  private tail: Buffer = NOTHING;
  private used = 0;

  push(piece: Buffer): void {
    const { length } = piece;
    this.octets += length;
    if (length >= SMALL_OCTETS) {
      this.closeTail();
      this.whole.push(Buffer.from(piece));
      return;
    }
    if (this.used + length > this.tail.length) {
      this.closeTail();
      // As much again as there is: one small piece reserves no more than itself.
      this.tail = Buffer.allocUnsafe(Math.min(JOINED_OCTETS_MAX, this.octets));
    }
    this.tail.set(piece, this.used);
    this.used += length;
  }

  /** Removes and returns the first octets, as many as stand together; there must be some. */
  shift(): Buffer {
    if (this.whole.length === 0) this.closeTail();
    const first = this.whole.shift()!;
    this.octets -= first.length;
    return first;
  }

  private closeTail(): void {
    if (this.used === 0) return;
    this.whole.push(this.tail.subarray(0, this.used));
    this.tail = NOTHING;
    this.used = 0;
  }
}
