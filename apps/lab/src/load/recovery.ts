import { setTimeout as delay } from 'node:timers/promises';

/** Whether, and how fast, the server answers one honest client as it did before the load. Milliseconds. */
export interface Recovery {
  /** The slowest of the calls before the load. */
  readonly before_ms: number;
  /** From the end of the load to the first of the calls that were as before; undefined: they never were while it was looked. */
  readonly recovered_after_ms: number | undefined;
  /** How long it was looked after the load. */
  readonly looked_ms: number;
  /** What calls after the load ended with, before it was as it was; a status, or the fault of the connection. */
  readonly refusals: Readonly<Record<string, number>>;
}

/** What one call came to: its status (0: no answer, `fault` says why), and how long it took. */
export interface ProbeCall {
  readonly status: number;
  readonly fault: string | undefined;
  readonly ms: number;
}

/** A call a second stays below any limit for one address. */
const EVERY_MS = 1_000;
const CALLS_BEFORE = 5;
/** So many calls in a row must be as before. */
const CALM_CALLS = 3;
/** A call is as before when it takes no more than the slowest of those by this much. */
const SLOWER_FACTOR = 1.5;
const SLOWER_MS = 20;

/**
 * One client that calls once a second, before a load and after it, until latency and refusals are as they were.
 *
 * @throws Error when a call before the load is not answered: there is nothing to compare with then
 */
export class RecoveryProbe {
  private beforeMs = 0;

  constructor(
    private readonly call: () => Promise<ProbeCall>,
    private readonly everyMs = EVERY_MS,
  ) {}

  async before(signal: AbortSignal): Promise<void> {
    for (let count = 0; count < CALLS_BEFORE && !signal.aborted; count++) {
      const { status, fault, ms } = await this.call();
      if (status >= 400 || status === 0) throw new Error(`a call before the load ended with ${fault ?? status}`);
      this.beforeMs = Math.max(this.beforeMs, ms);
      await this.rest();
    }
  }

  /** @param mostMs how long to look */
  async after(mostMs: number, signal: AbortSignal): Promise<Recovery> {
    const began = performance.now();
    const refusals: Record<string, number> = {};
    let calm = 0;
    let calmSinceMs = 0;
    let passedMs = 0;
    while (passedMs < mostMs && calm < CALM_CALLS && !signal.aborted) {
      const { status, fault, ms } = await this.call();
      const failed = status === 0 || status >= 400;
      if (failed) refusals[fault ?? status] = (refusals[fault ?? status] ?? 0) + 1;
      if (failed || ms > Math.max(this.beforeMs * SLOWER_FACTOR, this.beforeMs + SLOWER_MS)) calm = 0;
      else if (calm++ === 0) calmSinceMs = performance.now() - began;
      if (calm < CALM_CALLS) await this.rest();
      passedMs = performance.now() - began;
    }
    return {
      before_ms: this.beforeMs,
      recovered_after_ms: calm < CALM_CALLS ? undefined : calmSinceMs,
      looked_ms: passedMs,
      refusals,
    };
  }

  private rest(): Promise<void> {
    return delay(this.everyMs);
  }
}
