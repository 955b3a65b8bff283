import type { Outbox } from './outbox.js';
import { tails } from '../sockets/page-pool.js';

/** Queued pieces up to this size are joined, so that many of them make few frames. */
const JOIN_OCTETS = 1_024;

/** What a stream could not send at once, in order. It is made when there is something, and dropped when that has left. */
export class SendQueue {
  /** Octets waiting. */
  octets = 0;
  /** Octets of `head()` that have left. */
  from = 0;
  private readonly pieces: Uint8Array[] = [];
  private at = 0;
  /** The end of the queue, still being filled; up to `tailFrom` it stands in the pieces. */
  private tail: Buffer | undefined;
  private tailFrom = 0;
  private tailUsed = 0;
  private readonly pages: Buffer[] = [];

  /** Adds octets at the end: copied when few, else they must not change any more. */
  push(bytes: Uint8Array): void {
    const { length } = bytes;
    this.octets += length;
    if (length > JOIN_OCTETS) {
      this.closeTail();
      this.pieces.push(bytes);
      return;
    }
    if (this.tail === undefined || this.tailUsed + length > tails.octets) {
      this.closeTail();
      this.tail = tails.take();
      this.pages.push(this.tail);
      this.tailFrom = this.tailUsed = 0;
    }
    this.tail.set(bytes, this.tailUsed);
    this.tailUsed += length;
  }

  /** The piece that leaves next, of a queue that is not empty. */
  head(): Uint8Array {
    if (this.at === this.pieces.length) this.closeTail();
    return this.pieces[this.at]!;
  }

  /** So many octets of `head()`, from `from` on, have left. */
  sent(octets: number): void {
    const { pieces } = this;
    this.octets -= octets;
    this.from += octets;
    if (this.from < pieces[this.at]!.length) return;
    this.from = 0;
    if (++this.at < pieces.length) return;
    pieces.length = 0;
    this.at = 0;
  }

  /** Everything has left by this outbox, and the queue is not used any more. */
  retire(outbox: Outbox): void {
    for (const page of this.pages) outbox.lend(page);
  }

  private closeTail(): void {
    if (this.tail === undefined || this.tailUsed === this.tailFrom) return;
    this.pieces.push(this.tail.subarray(this.tailFrom, this.tailUsed));
    this.tailFrom = this.tailUsed;
  }
}
