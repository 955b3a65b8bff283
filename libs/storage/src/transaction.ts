import type { DataSource, EntityManager } from 'typeorm';

/** How long a caller is willing to wait, and whether it still does. */
export interface Caller {
  /** In milliseconds since the epoch; undefined: no bound but the pool's own. */
  readonly deadline?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The caller's deadline passed, or the caller left, before the work was done; the transaction was rolled back. */
export class DeadlineError extends Error {
  override readonly name = 'DeadlineError';
}

/** `query_canceled`: what Postgres answers to a statement timeout and to a cancellation. */
const QUERY_CANCELED = '57014';

/**
 * Runs `work` in one transaction that ends with its caller: the time that is left becomes `statement_timeout`,
 * and a caller that leaves cancels the statement that runs (`pg_cancel_backend`).
 *
 * @throws DeadlineError when the caller's time is over or the caller left; whatever `work` throws otherwise
 */
export async function transaction<T>(
  dataSource: DataSource,
  caller: Caller,
  work: (manager: EntityManager) => Promise<T>,
): Promise<T> {
  const left = caller.deadline === undefined ? undefined : caller.deadline - Date.now();
  if (left !== undefined && left <= 0) throw new DeadlineError('the deadline has passed');
  if (caller.signal?.aborted) throw new DeadlineError('the caller has left');
  try {
    return await dataSource.transaction(async (manager) => {
      const [row] = await manager.query<[{ pid: number }]>(
        `select pg_backend_pid() as pid, set_config('statement_timeout', $1, true)`,
        [left === undefined ? '0' : String(Math.ceil(left))],
      );
      return cancellable(dataSource, row.pid, caller.signal, () => work(manager));
    });
  } catch (error) {
    if ((error as { code?: unknown }).code !== QUERY_CANCELED) throw error;
    throw new DeadlineError('the statement was cancelled', { cause: error });
  }
}

/** Cancels what runs on the connection `pid` when `signal` fires; the connection is given back only after a cancellation under way has ended. */
async function cancellable<T>(
  dataSource: DataSource,
  pid: number,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  if (!signal) return work();
  let cancelling: Promise<unknown> | undefined;
  const cancel = () => {
    cancelling = dataSource.query('select pg_cancel_backend($1)', [pid]).catch(() => undefined);
  };
  signal.addEventListener('abort', cancel, { once: true });
  try {
    return await work();
  } finally {
    signal.removeEventListener('abort', cancel);
    await cancelling;
  }
}
