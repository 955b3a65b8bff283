import type { Operation, Outcome } from './operation.js';

/** Applies batches in one transaction each; one at a time. */
export interface BatchExecutor {
  /**
   * @param operations no two of one tenant and request id
   * @param wait whether to wait for nodes that another transaction holds
   * @returns the outcomes by position, committed
   * @throws BatchFailure
   */
  apply(operations: readonly Operation[], wait: boolean): Promise<BatchResult>;
  close(): Promise<void>;
}

export interface BatchResult {
  readonly outcomes: readonly Outcome[];
  /** Further leases have ended and wait to be swept. */
  readonly moreDue: boolean;
}

/**
 * How a batch failed, which says what may be done about it:
 * - `rolled back`: nothing happened, and trying again may succeed (a deadlock, a request id that another replica inserted as well);
 * - `refused`: nothing happened, and at least one of its operations is to blame;
 * - `blocked`: nothing happened, because another transaction held a node for too long;
 * - `unavailable`: nothing happened, because the database cannot do it now, over whatever connection (no room, no tables);
 * - `not sent`: there was no connection, or one over which the database does it not any more;
 * - `unknown`: the connection was lost before the answer came, so it may have been committed.
 */
export type FailureKind = 'rolled back' | 'refused' | 'blocked' | 'unavailable' | 'not sent' | 'unknown';

export class BatchFailure extends Error {
  override readonly name = 'BatchFailure';

  constructor(
    readonly kind: FailureKind,
    cause: unknown,
  ) {
    super(`the batch was not applied (${kind}): ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}
