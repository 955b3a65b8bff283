import type { DataSource, EntityManager } from 'typeorm';
import { type Caller, DeadlineError } from './caller.js';
import { asDeadline, cancellable } from './connection.js';
import { isConnectionFailure } from './unavailable.js';

/** What the pool takes away because it is broken. */
function endConnection({ queryRunner }: EntityManager): void {
  const { databaseConnection } = queryRunner as unknown as {
    databaseConnection: { connection: { stream: { destroy(): void } } };
  };
  databaseConnection.connection.stream.destroy();
}

/**
 * Runs `work` in one transaction that ends with its caller: the time that is left becomes `statement_timeout`,
 * and a caller that leaves cancels the statement that runs.
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
      return cancellable(dataSource, row.pid, caller, () => work(manager)).catch((error: unknown) => {
        // The pool would give the same connection to the next.
        if (isConnectionFailure(error)) endConnection(manager);
        throw error;
      });
    });
  } catch (error) {
    throw asDeadline(error);
  }
}
