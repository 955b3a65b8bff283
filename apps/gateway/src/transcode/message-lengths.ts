/** Octets before each message: a flag and a length (gRPC over HTTP/2, "Length-Prefixed-Message"). */
export const PREFIX_OCTETS = 5;

/** Follows the lengths of gRPC messages through pieces that are cut anywhere, without keeping any of them. */
export class MessageLengths {
  /** Octets of the message that are still to come. */
  private left = 0;
  /** Octets of the next prefix that have come, and the length that they say so far. */
  private prefix = 0;
  private length = 0;

  constructor(readonly most: number) {}

  /** @returns the length of a message that is longer than allowed, as soon as its prefix is there */
  excess(piece: Uint8Array): number | undefined {
    for (let at = 0; at < piece.length;) {
      if (this.left > 0) {
        const octets = Math.min(this.left, piece.length - at);
        this.left -= octets;
        at += octets;
        continue;
      }
      const octet = piece[at++]!;
      // The first is the flag. By multiplication: shifting makes numbers above 2^31 negative.
      if (this.prefix > 0) this.length = this.length * 256 + octet;
      if (++this.prefix < PREFIX_OCTETS) continue;
      const { length } = this;
      if (length > this.most) return length;
      this.left = length;
      this.prefix = this.length = 0;
    }
    return undefined;
  }
}
