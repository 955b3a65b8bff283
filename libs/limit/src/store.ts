import type { CompiledPolicy } from './policy.js';

/** One bucket that a call draws on. */
export interface Ask {
  readonly policy: CompiledPolicy;
  /** The values of the policy's dimensions, in their order; the store keeps policies apart by itself. */
  readonly key: string;
  /** Units, a whole number from 1; usually the policy's. */
  readonly cost: number;
  /** Decided and counted, not enforced; usually the policy's. */
  readonly shadow: boolean;
}

/** What one bucket said. */
export interface Verdict {
  readonly policy: CompiledPolicy;
  readonly shadow: boolean;
  /** The bucket did not have the units; of a shadow policy: the call would have been refused. */
  readonly refused: boolean;
  /** Units left after this call. */
  readonly remaining: number;
  /** When `refused`: how long until the same ask fits, if nobody else draws on the bucket (Infinity: never, it holds less). Otherwise 0. */
  readonly retryAfterMs: number;
  /** Milliseconds until the bucket is full again or, when nothing remains, until it holds a unit. */
  readonly resetMs: number;
}

/** Where a decision was made: in the store, or by the declared mode while the shared store cannot be asked. */
export type DecidedBy = 'store' | 'mode';

/** A call that may take place, and what it has taken. */
export interface Debit {
  readonly allowed: true;
  readonly by: DecidedBy;
  readonly verdicts: readonly Verdict[];
  /** What the verdicts are of, one by one. */
  readonly asks: readonly Ask[];
  /** When, in microseconds on the clock of the store. */
  readonly at: number;
}

/**
 * What a call may do.
 *
 * `verdicts` has one entry for each ask that was decided. It can be shorter than the asks: a key that is known to be
 * over its limit answers alone, and while the shared store is lost, policies of mode `open` are not looked at.
 */
export type Decision =
  | Debit
  | {
      readonly allowed: false;
      readonly reason: 'over_limit';
      readonly by: DecidedBy;
      readonly verdicts: readonly Verdict[];
      /** Of the refusing verdicts the one with the longest wait. */
      readonly blockedBy: Verdict;
    }
  | {
      /** The shared store cannot be asked and a policy of the call is declared `closed`. */
      readonly allowed: false;
      readonly reason: 'store_lost';
      readonly by: 'mode';
      readonly verdicts: readonly Verdict[];
      readonly policy: CompiledPolicy;
      readonly retryAfterMs: number;
    };

/**
 * Where buckets are kept.
 *
 * All asks of a call are decided together: when one that is enforced refuses, none is debited. A shadow ask never
 * refuses the call, and is not debited when its own bucket is short. No two asks of one call may share a bucket.
 */
export interface LimitStore {
  /** Answers at once where that is possible: look before you await. Never throws or rejects. */
  decide(asks: readonly Ask[]): Decision | Promise<Decision>;
  /** What the buckets would say to these asks, without spending. */
  peek(asks: readonly Ask[]): Verdict[] | Promise<Verdict[]>;
  /**
   * Gives the units of a call back, because it did not take place after all: those that it took, where it took them, less what
   * the time has given back since. So a late refund gives nobody the units of others.
   */
  refund(debit: Debit): void;
  close(): void | Promise<void>;
}

/** The decision that the verdicts of all asks lead to. */
export function decisionOf(asks: readonly Ask[], verdicts: readonly Verdict[], by: DecidedBy, at: number): Decision {
  return refusalOf(verdicts, by) ?? { allowed: true, by, verdicts, asks, at };
}

/** The refusal that some of the verdicts lead to, if they do. */
export function refusalOf(verdicts: readonly Verdict[], by: DecidedBy): (Decision & { allowed: false }) | undefined {
  let blockedBy: Verdict | undefined;
  for (const verdict of verdicts) {
    if (!verdict.refused || verdict.shadow) continue;
    if (blockedBy === undefined || verdict.retryAfterMs > blockedBy.retryAfterMs) blockedBy = verdict;
  }
  return blockedBy && { allowed: false, reason: 'over_limit', by, verdicts, blockedBy };
}

/** The asks that the call has taken units for: a shadow ask whose bucket was short took none. */
export function debitedBy({ asks, verdicts }: Debit): Ask[] {
  return asks.filter((_, index) => verdicts[index]?.refused === false);
}
