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
/** What has to wait for its turn, in pieces of a frame's size. */
export const tails = new PagePool(16_384, 256);

/** Nobody refers to the page any more: one of {@link pages} or {@link tails}. */
export function givePage(page: Buffer): void {
  if (page.length === pages.octets) pages.give(page);
  else tails.give(page);
}
