import type { Period, Unit } from '../accounts/units.js';

/** What can be done to an allocation, by the numbers that Postgres knows (sql/apply-batch.sql, and `kind` of the ledger). */
export const kinds = { allocate: 1, settle: 2, extend: 3, free: 4 } as const;
export type OperationKind = keyof typeof kinds;

/** Entries of the ledger that no caller asks for by request id. */
export const ledgerKinds = {
  ...kinds,
  expire: 5,
  addNode: 6,
  resizeNode: 7,
  drainNode: 8,
  undrainNode: 9,
  removeNode: 10,
  /** Two entries: everything leaves the old name and arrives under the new one. */
  renameNode: 11,
} as const;

/** How a node is chosen; the position is the number in Postgres, less 1. */
export const strategies = ['best', 'largest'] as const;
export type Strategy = (typeof strategies)[number];

/** States of an allocation, by the numbers of `Allocation.State` in the contract and in Postgres. */
export const states = { allocated: 1, settled: 2, freed: 3, expired: 4 } as const;

/** One change of one allocation. */
export interface Operation {
  readonly kind: OperationKind;
  readonly tenant: string;
  readonly requestId: string;
  /** Who asks. */
  readonly subject: string;
  /** May act for every subject of the tenant. */
  readonly privileged: boolean;
  /** Tokens to allocate or to settle; 0 for the other kinds. A whole number from 0 to 2^63−1 in decimal. */
  readonly tokenCount: string;
  /** Seconds of the lease; 0: none. Below zero: the caller asked for none and gets the default, of as many seconds. */
  readonly ttlSeconds: number;
  /**
   * Micro-USD to allocate or to settle, as decimal text; undefined: none, and of a settlement as much of what was reserved as of the
   * tokens.
   */
  readonly cost?: string | undefined;
  /** The nodes to choose from; undefined: those of the pool `default`. */
  readonly pool?: string | undefined;
  /** Whose accounts are charged, in the form of {@link referenceOf}; undefined: nobody's. */
  readonly reference?: string | undefined;
  /** A JSON object of text that is kept with a new allocation. */
  readonly labels?: string | undefined;
}

/**
 * Who is charged, as resolve_reference of sql/accounts.sql reads it.
 *
 * @param own the caller's account, its id or its path; empty: the tenant's root
 * @param asked an account at or below it; empty: the caller's own
 */
export function referenceOf(own: string, asked: string, guest: boolean): string {
  return `${own}\n${asked}\n${guest ? 'guest' : ''}`;
}

/** A limit of an account in one of its periods. */
export interface LimitState {
  /** The path of names below the tenant's root, which itself is empty. */
  readonly account: string;
  readonly accountId: string;
  readonly limitId: string;
  readonly unit: Unit;
  readonly period: Period;
  readonly hard: boolean;
  readonly used: string;
  /** What there is in this period, top-ups and overrides included. */
  readonly ceiling: string;
  readonly softPercent: number;
  /** Microseconds since the epoch; undefined: never. */
  readonly endsUs: bigint | undefined;
}

/** Why a limit refuses. */
export interface LimitRefusal extends LimitState {
  /** What is left, in the limit's unit. */
  readonly remaining: string;
  /** What was asked for, in the limit's unit. */
  readonly asked: string;
  /** The moment of the refusal, in microseconds since the epoch by the database's clock. */
  readonly atUs: bigint;
}

/** An allocation as it is now. */
export interface AllocationRecord {
  readonly requestId: string;
  readonly nodeId: string;
  readonly tokenCount: string;
  readonly settled: string;
  readonly state: number;
  readonly strategy: Strategy;
  /** Microseconds since the epoch; undefined without a lease. */
  readonly expiresUs: bigint | undefined;
  readonly createdUs: bigint;
  /** Micro-USD, reserved and settled. */
  readonly cost?: string | undefined;
  readonly settledCost?: string | undefined;
  /** The id of the account that is charged; undefined: none. */
  readonly accountId?: string | undefined;
  /** Limits whose soft mark this operation has crossed. */
  readonly warnings?: readonly LimitState[] | undefined;
  /** Why an operator freed it; known only where it was asked for. */
  readonly forceFreeReason?: string | undefined;
}

/** What became of an operation. */
export type Outcome =
  | { readonly result: 'done'; readonly allocation: AllocationRecord }
  /** Nothing was decided: it needs a node that another transaction held. */
  | { readonly result: 'again' }
  /** No such allocation, or not the caller's. */
  | { readonly result: 'not found' }
  /** The request id was used with another payload. */
  | { readonly result: 'mismatch' }
  | {
      readonly result: 'exhausted';
      /** The most that one node has left. */
      readonly largestRemaining: string;
      /** Until the next lease ends, by the database's clock; undefined when none will. */
      readonly retryAfterMs: number | undefined;
    }
  /** The caller holds as many tokens as one may, with what was asked. */
  | { readonly result: 'too many tokens'; readonly callerRemaining: string }
  /** The caller has as many allocations in flight as one may. */
  | { readonly result: 'too many requests' }
  /** A limit of an account on the path has too little left; of several, the one that resets last. */
  | { readonly result: 'limited'; readonly refusal: LimitRefusal }
  /** The account that was asked for does not exist, or is not below the caller's own. */
  | { readonly result: 'no account' }
  | { readonly result: 'account closed' }
  /** The account that the caller's key or token names does not exist. */
  | { readonly result: 'no own account' }
  | { readonly result: 'no pool' }
  /** More than one request of an account may ask for. */
  | { readonly result: 'too large' }
  /** What was settled for an account is spent: only an operator gives it back. */
  | { readonly result: 'spent'; readonly allocation: AllocationRecord }
  /** More was to be settled than was allocated. */
  | { readonly result: 'too much'; readonly allocation: AllocationRecord }
  /** Settled, freed or expired already, so that this cannot be done any more; an allocation cannot be repeated then either. */
  | { readonly result: 'ended'; readonly allocation: AllocationRecord };

/** The order of the numbers in `codes` of apply_batch. */
export const resultsByCode = [
  'done',
  'again',
  'not found',
  'mismatch',
  'exhausted',
  'too much',
  'ended',
  'too many tokens',
  'too many requests',
  'limited',
  'no account',
  'account closed',
  'no own account',
  'no pool',
  'spent',
  'too large',
] as const;

/** Refusals of which a repeated request that was granted before must be told apart. */
export const NO_ROOM: ReadonlySet<Outcome['result']> = new Set([
  'exhausted',
  'too many tokens',
  'too many requests',
  'limited',
  'no account',
  'account closed',
  'no own account',
  'no pool',
  'too large',
]);

/** One identity in the database. */
export function keyOf(operation: Operation): string {
  return `${operation.tenant}\u0000${operation.requestId}`;
}

/** Whether two operations on one allocation ask for the same by the same caller, so that one execution answers both. */
export function isSame(one: Operation, other: Operation): boolean {
  return (
    one.kind === other.kind &&
    one.tokenCount === other.tokenCount &&
    one.ttlSeconds === other.ttlSeconds &&
    one.cost === other.cost &&
    one.pool === other.pool &&
    one.reference === other.reference &&
    one.subject === other.subject &&
    one.privileged === other.privileged
  );
}
