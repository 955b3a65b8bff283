import type { DataSource } from 'typeorm';
import type { Caller } from './caller.js';
import { asDeadline, cancellable, connect } from './connection.js';
import { isConnectionFailure } from './unavailable.js';

/** One SQL text, prepared once on each connection. */
export interface Statement<Row> {
  readonly name: string;
  readonly text: string;
  /** Only for the type. */
  readonly row?: Row;
}

export function statement<Row>(name: string, text: string): Statement<Row> {
  return { name, text };
}

/**
 * Runs one prepared statement that is a transaction by itself: one round trip, where {@link transaction} takes four.
 * A caller that leaves, or whose deadline passes, cancels it; `statement_timeout` of the connection bounds it in any case.
 *
 * @throws DeadlineError when the caller's time is over or the caller left; the driver's error otherwise
 */
export async function execute<Row>(
  dataSource: DataSource,
  caller: Caller,
  { name, text }: Statement<Row>,
  values: readonly unknown[],
): Promise<Row[]> {
  const connection = await connect(dataSource, caller);
  let failure: Error | undefined;
  try {
    const query = { name, text, values: [...values] };
    const { rows } = await cancellable(dataSource, connection.processID, caller, () => connection.query(query));
    return rows as Row[];
  } catch (error) {
    // An error with a severity came from Postgres; but when it speaks of the connection, or did not come from Postgres, the connection is lost.
    if (isConnectionFailure(error) || !('severity' in (error as Error))) failure = error as Error;
    throw asDeadline(error);
  } finally {
    connection.release(failure);
  }
}
