/** How many streams that the peer ended are remembered, to tell late frames of its own from broken ones (RFC 9113 §5.1). */
const ENDED = 64;
/** How many streams that we reset are remembered: the peer may have sent more before it knew. */
const RESET = 1_024;

/** Which of a connection's last streams ended, and by whom: frames that come after the end mean different things (§5.1). */
export class RecentStreams {
  private readonly ended = new Int32Array(ENDED);
  private endedAt = 0;
  /** Made with the first reset: most connections have none. */
  private reset: Int32Array | undefined;
  private resetAt = 0;

  /** The peer has ended the stream: by END_STREAM, or by RST_STREAM. */
  addEnded(streamId: number): void {
    this.ended[this.endedAt] = streamId;
    this.endedAt = (this.endedAt + 1) % ENDED;
  }

  /** We have reset the stream. */
  addReset(streamId: number): void {
    this.reset ??= new Int32Array(RESET);
    this.reset[this.resetAt] = streamId;
    this.resetAt = (this.resetAt + 1) % RESET;
  }

  endedByPeer(streamId: number): boolean {
    return this.ended.includes(streamId);
  }

  resetByUs(streamId: number): boolean {
    return this.reset?.includes(streamId) === true;
  }
}
