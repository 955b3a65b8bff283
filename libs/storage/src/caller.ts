/** How long a caller is willing to wait, and whether it still does. */
export interface Caller {
  /** In milliseconds since the epoch; undefined: no bound but the pool's own. */
  readonly deadline?: number | undefined;
  /** Fires when the caller leaves or its time is over. */
  readonly signal?: AbortSignal | undefined;
}

/** The caller's deadline passed, or the caller left, before the work was done; nothing of it stays. */
export class DeadlineError extends Error {
  override readonly name = 'DeadlineError';
}
