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
] as const;

/** Refusals of which a repeated request that was granted before must be told apart. */
export const NO_ROOM: ReadonlySet<Outcome['result']> = new Set(['exhausted', 'too many tokens', 'too many requests']);

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
    one.subject === other.subject &&
    one.privileged === other.privileged
  );
}
