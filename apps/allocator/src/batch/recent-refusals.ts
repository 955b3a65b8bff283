import { keyOf, type LimitRefusal, type Operation, type Outcome } from './operation.js';

/** How long a refusal answers those after it, at most; in milliseconds. */
const KEPT_MS = 100;
/** Callers whose refusals are kept. */
const CALLERS_MAX = 10_000;
/** Granted requests that are told apart from new ones. */
const GRANTED_MAX = 100_000;

interface Kept {
  readonly refusal: LimitRefusal;
  /** By {@link RecentRefusals}'s clock. */
  readonly until: number;
}

/**
 * Refusals by limits of accounts, kept for a tenth of a second and never beyond the limit's period: whoever asks an empty account again
 * and again is answered here, and Postgres hears of it ten times a second. What returns to the account in between is seen that much
 * later. A request that this replica has granted is no new one, and goes to Postgres, which knows it.
 */
export class RecentRefusals {
  private readonly kept = new Map<string, Kept>();
  private readonly granted = new Set<string>();

  constructor(private readonly clock: () => number = performance.now.bind(performance)) {}

  /** The refusal that a new request would get; undefined: ask. */
  of(operation: Operation): Outcome | undefined {
    if (this.kept.size === 0 || operation.kind !== 'allocate' || operation.reference === undefined) return undefined;
    const key = callerOf(operation);
    const found = this.kept.get(key);
    if (found === undefined) return undefined;
    if (found.until <= this.clock()) {
      this.kept.delete(key);
      return undefined;
    }
    const { refusal } = found;
    const asked = askedOf(operation, refusal);
    // As in apply_operations: who names no cost needs room for one.
    const needed = asked === 0n ? 1n : asked;
    if (needed <= BigInt(refusal.remaining) || this.granted.has(keyOf(operation))) return undefined;
    return { result: 'limited', refusal: { ...refusal, asked: String(asked) } };
  }

  /** Keeps what became of a request. */
  keep(operation: Operation, outcome: Outcome): void {
    if (operation.kind !== 'allocate' || operation.reference === undefined) return;
    if (outcome.result === 'done' && outcome.allocation.accountId !== undefined) {
      forgetOldest(this.granted, GRANTED_MAX);
      this.granted.add(keyOf(operation));
    }
    if (outcome.result !== 'limited') return;
    const key = callerOf(operation);
    const before = this.kept.get(key);
    const now = this.clock();
    // A refusal that came from here does not renew itself.
    if (before !== undefined && before.until > now) return;
    forgetOldest(this.kept, CALLERS_MAX);
    const { endsUs, atUs } = outcome.refusal;
    const leftMs = endsUs === undefined ? KEPT_MS : Number((endsUs - atUs) / 1000n);
    this.kept.set(key, { refusal: outcome.refusal, until: now + Math.min(KEPT_MS, leftMs) });
  }
}

function callerOf({ tenant, reference }: Operation): string {
  return `${tenant}\n${reference}`;
}

function askedOf({ tokenCount, cost }: Operation, { unit }: LimitRefusal): bigint {
  if (unit === 'tokens') return BigInt(tokenCount);
  return unit === 'micro_usd' ? BigInt(cost ?? 0) : 1n;
}

function forgetOldest(kept: Map<string, unknown> | Set<string>, max: number): void {
  if (kept.size < max) return;
  for (const oldest of kept.keys()) {
    kept.delete(oldest);
    return;
  }
}
