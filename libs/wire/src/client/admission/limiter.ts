/** A call as admission sees it: one with a place among those in flight, or one that asks for it. */
export interface AdmittedCall {
  /** As `Date.now()` counts. */
  readonly deadline: number | undefined;
  /** How long it may wait at least, since its caller has asked for patience, in milliseconds. */
  readonly waitMs: number;
  /** Calls of one share wait behind each other, and take turns with those of others. */
  readonly share: string;
  /** Since when it waited, should it have; 0: it was sent at once. */
  arrivedAt: number;
  /** When it was sent, while it is in flight; 0: it is not. */
  sentAt: number;
  /** Of an adaptive limit: among which calls its latency counts; 0: it does not. */
  cohort: number;
  /** Where it waited, when it was sent beside those that the limit counts. */
  beside: { hasBeside: boolean } | undefined;
}

/**
 * How a sending ended, as far as its time tells something:
 * `answered`: the service said what it had to say. `late`: the deadline passed. `lost`: the client left, or it failed in a way
 * that says nothing of how long an answer takes, only that there was none until then.
 */
export type SendingEnd = 'answered' | 'late' | 'lost';

/** How many calls may be in flight. All times are milliseconds as `Date.now()` counts. */
export interface Limiter {
  readonly limit: number;
  /** What calls lately took, in milliseconds; 0: not known. */
  readonly latency: number;
  /** What a call takes when none waits for another, in milliseconds; 0: not known. */
  readonly unloaded: number;
  /** How much longer calls may take by waiting for each other, in milliseconds. */
  readonly slack: number;
  /** How long callers wait for an answer, at the lower end, in milliseconds; 0: not known. */
  readonly patience: number;
  /** Calls were sent and nothing has ever been answered. */
  readonly unknown: boolean;
  /** A call found the limit met. */
  blocked(now: number): void;
  /** Time goes by; `waiting`: while calls find the limit met. */
  tick(now: number, waiting: boolean): void;
  sent(call: AdmittedCall, now: number, inFlight: number): void;
  ended(call: AdmittedCall, now: number, end: SendingEnd): void;
}

/** The weight of a call's time in the mean of what calls lately took. */
const LATENCY_WEIGHT = 0.05;

/** As many as the configuration says, whatever the service makes of them. */
export class FixedLimit implements Limiter {
  latency = 0;
  readonly unloaded = 0;
  readonly slack = 0;
  readonly patience = 0;
  unknown = true;

  constructor(readonly limit: number) {}

  blocked(): void {}
  tick(): void {}
  sent(): void {}

  ended(call: AdmittedCall, now: number, end: SendingEnd): void {
    if (end === 'lost') return;
    const took = Math.max(0, now - call.sentAt);
    this.latency = this.unknown ? took : this.latency + LATENCY_WEIGHT * (took - this.latency);
    this.unknown = false;
  }
}
