import { type MemoryAccount, unbounded } from '../memory/account.js';
import { tails } from '../sockets/page-pool.js';

/** What a stream could not send at once, in order, as a copy. It is made when there is something, and dropped when that has left. */
export class SendQueue {
  /** Octets waiting. */
  octets = 0;
  private readonly pages: Buffer[] = [];
  /** In the first page. */
  private from = 0;
  /** In the last page. */
  private to = 0;

  /** Whole pages are counted: one octet keeps one. */
  constructor(private readonly account: MemoryAccount = unbounded) {}

  push(bytes: Uint8Array): void {
    const { length } = bytes;
    this.octets += length;
    for (let at = 0; at < length;) {
      if (this.pages.length === 0 || this.to === tails.octets) {
        this.pages.push(tails.take());
        this.account.hold(tails.octets);
        this.to = 0;
      }
      const octets = Math.min(tails.octets - this.to, length - at);
      this.pages.at(-1)!.set(bytes.subarray(at, at + octets), this.to);
      this.to += octets;
      at += octets;
    }
  }

  /** What leaves next, of a queue that is not empty; it stands until {@link sent} is told. */
  head(): Buffer {
    return this.pages[0]!.subarray(this.from, this.pages.length === 1 ? this.to : tails.octets);
  }

  /** So many octets of `head()` have left. */
  sent(octets: number): void {
    this.octets -= octets;
    this.from += octets;
    if (this.from < (this.pages.length === 1 ? this.to : tails.octets)) return;
    this.from = 0;
    tails.give(this.pages.shift()!);
    this.account.release(tails.octets);
  }

  /** Nothing of it is sent any more. */
  drop(): void {
    this.account.release(this.pages.length * tails.octets);
    for (const page of this.pages.splice(0)) tails.give(page);
    this.octets = 0;
  }
}
