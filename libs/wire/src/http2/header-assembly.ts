/** Header blocks that span frames (RFC 9113 §4.3 and §6.10): HEADERS without END_HEADERS, then CONTINUATION. */
import type { Bounds } from './bounds.js';

export class HeaderAssembly {
  readonly startedAt = Date.now();
  private readonly parts: Buffer[] = [];
  private octets = 0;
  private continuations = 0;

  constructor(
    readonly streamId: number,
    readonly endStream: boolean,
    /** The priority of HEADERS makes the stream depend on itself. */
    readonly dependsOnItself: boolean,
    private readonly bounds: Bounds,
  ) {}

  /** Keeps a copy. @throws ConnectionError ENHANCE_YOUR_CALM when the block is too long to be meant well. */
  add(fragment: Buffer): void {
    this.octets += fragment.length;
    if (this.octets > this.bounds.limits.headerBlockBytes) {
      this.bounds.exceeded('continuations', 'a header block above the limit');
    }
    this.parts.push(Buffer.from(fragment));
  }

  continue(fragment: Buffer): void {
    if (++this.continuations > this.bounds.limits.maxContinuations) {
      this.bounds.exceeded('continuations', 'a header block of too many CONTINUATION frames');
    }
    this.add(fragment);
  }

  whole(): Buffer {
    return Buffer.concat(this.parts, this.octets);
  }
}
