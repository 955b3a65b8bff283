/** One ended session, and until when its tokens could still be shown. */
export interface Revocation {
  readonly sessionId: string;
  /** In milliseconds since the epoch. */
  readonly untilMs: number;
}

const SWEEP_MS = 30_000;

/**
 * The sessions that have ended while their access tokens have not. It knows nothing of how revocations arrive: whoever receives
 * them calls {@link apply}, also for messages without any, which say that the list is current.
 */
export class RevocationList {
  private readonly until = new Map<string, number>();
  private sweptAtMs = 0;
  private currentAtMs = Number.NEGATIVE_INFINITY;
  /** Where to continue after a broken connection; empty: from the beginning. */
  cursor = '';
  /** Told of each session that ends. */
  onRevoked: ((sessionId: string) => void) | undefined;

  get size(): number {
    return this.until.size;
  }

  /** @param cursor what the sender wants to be told when it is asked to continue */
  apply(revocations: Iterable<Revocation>, cursor: string, nowMs = Date.now()): void {
    for (const { sessionId, untilMs } of revocations) this.revoke(sessionId, untilMs);
    this.cursor = cursor;
    this.currentAtMs = nowMs;
    if (nowMs - this.sweptAtMs >= SWEEP_MS) this.sweep(nowMs);
  }

  /** Ending a session twice keeps the later time. */
  revoke(sessionId: string, untilMs: number): void {
    const known = this.until.get(sessionId);
    if (known === undefined || known < untilMs) this.until.set(sessionId, untilMs);
    if (known === undefined) this.onRevoked?.(sessionId);
  }

  isRevoked(sessionId: string, nowMs: number): boolean {
    const untilMs = this.until.get(sessionId);
    return untilMs !== undefined && untilMs > nowMs;
  }

  /** How long ago the sender last said that the list is current, in milliseconds; infinite when it never did. */
  ageMs(nowMs = Date.now()): number {
    return nowMs - this.currentAtMs;
  }

  private sweep(nowMs: number): void {
    this.sweptAtMs = nowMs;
    for (const [sessionId, untilMs] of this.until) {
      if (untilMs <= nowMs) this.until.delete(sessionId);
    }
  }
}
