import type { DataSource } from 'typeorm';
import { type Caller, DeadlineError } from './transaction.js';

/** The part of `pg` that is used here. */
interface PoolClient {
  readonly processID: number;
  query(query: { name: string; text: string; values: unknown[] }): Promise<{ rows: unknown[] }>;
  release(error?: Error): void;
}
interface Pool {
  connect(): Promise<PoolClient>;
}

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

/** `query_canceled`. */
const QUERY_CANCELED = '57014';

/**
 * Runs one prepared statement that is a transaction by itself: one round trip, where {@link transaction} takes four.
 * A caller that leaves, or whose deadline passes (`caller.signal` fires for both), cancels it.
 *
 * @throws DeadlineError when the caller's time is over or the caller left; the driver's error otherwise
 */
export async function execute<Row>(
  dataSource: DataSource,
  caller: Caller,
  { name, text }: Statement<Row>,
  values: readonly unknown[],
): Promise<Row[]> {
  const { signal } = caller;
  if (signal?.aborted) throw new DeadlineError('the caller has left');
  const client = await (dataSource.driver as unknown as { master: Pool }).master.connect();
  let cancelling: Promise<unknown> | undefined;
  const cancel = () => {
    cancelling = dataSource.query('select pg_cancel_backend($1)', [client.processID]).catch(() => undefined);
  };
  signal?.addEventListener('abort', cancel, { once: true });
  let failure: Error | undefined;
  try {
    const { rows } = await client.query({ name, text, values: [...values] });
    return rows as Row[];
  } catch (error) {
    if ((error as { code?: unknown }).code === QUERY_CANCELED) {
      throw new DeadlineError('the statement was cancelled', { cause: error });
    }
    // An error with a severity came from Postgres over a connection that still works; any other speaks of the connection.
    if (!('severity' in (error as Error))) failure = error as Error;
    throw error;
  } finally {
    signal?.removeEventListener('abort', cancel);
    await cancelling;
    client.release(failure);
  }
}
