import type { StreamOwner, StreamShare } from './stream-share.js';

/** One stream between a client and an upstream. */
export class OpenStream {
  constructor(
    private readonly share: StreamShare,
    private readonly owner: StreamOwner,
  ) {}

  /** The answer has ended, or never will. */
  close(): void {
    this.share.giveBack(this.owner);
  }
}
