import { Problem } from '@sluice/problem';
import pg from 'pg';
import type { DataSource } from 'typeorm';
import { type Caller, DeadlineError } from './caller.js';

/** The part of a pooled `pg` connection that is used here. */
export interface Connection {
  readonly processID: number;
  query(query: { name?: string; text: string; values: unknown[] }): Promise<{ rows: unknown[] }>;
  on(event: 'error', listener: () => void): void;
  listenerCount(event: 'error'): number;
  release(error?: Error): void;
}
interface Pool {
  readonly options: pg.PoolConfig;
  connect(): Promise<Connection>;
}

/** A connection beside the pool, to where the pool connects. */
export function newClient(dataSource: DataSource, timeoutMs: number): pg.Client {
  const { options } = poolOf(dataSource);
  const Client = (options as { Client?: typeof pg.Client }).Client ?? pg.Client;
  return new Client({ ...options, connectionTimeoutMillis: timeoutMs });
}

const poolOf = (dataSource: DataSource) => (dataSource.driver as unknown as { master: Pool }).master;

/**
 * A connection of the pool, for as long as the caller is willing to wait for one.
 *
 * @throws DeadlineError when the caller left or its time was over first; Problem OVERLOADED when none became free within the pool's own time
 */
export async function connect(dataSource: DataSource, { signal }: Caller): Promise<Connection> {
  if (signal?.aborted) throw new DeadlineError('the caller has left');
  const connecting = poolOf(dataSource)
    .connect()
    .then((connection) => {
      // A connection that breaks while it is ours also fails the query that runs; without a listener it would end the process.
      if (connection.listenerCount('error') === 0) connection.on('error', () => undefined);
      return connection;
    })
    .catch((error: Error) => {
      if (!error.message.includes('timeout exceeded when trying to connect')) throw error;
      throw new Problem('OVERLOADED', 'The database has no free connection.', {
        details: { retry_after_ms: 1000 },
        cause: error,
      });
    });
  if (!signal) return connecting;
  let leave: (() => void) | undefined;
  const left = new Promise<never>((_, reject) => {
    leave = () => reject(new DeadlineError('the caller has left'));
    signal.addEventListener('abort', leave, { once: true });
  });
  try {
    return await Promise.race([connecting, left]);
  } catch (error) {
    connecting.then(
      (connection) => connection.release(),
      () => undefined,
    );
    throw error;
  } finally {
    signal.removeEventListener('abort', leave!);
  }
}

/** One connection beside each pool, for cancellations: they must get through when the pool itself is used up. */
const cancellers = new WeakMap<DataSource, pg.Pool>();

/** Cancels the statement that the connection runs (`pg_cancel_backend`); never fails, since there may be none left. */
export async function cancelStatement(dataSource: DataSource, processID: number): Promise<void> {
  let canceller = cancellers.get(dataSource);
  if (!canceller) {
    const { options } = poolOf(dataSource);
    canceller = new pg.Pool({ ...options, max: 1, idleTimeoutMillis: 5000, allowExitOnIdle: true });
    canceller.on('error', () => undefined);
    cancellers.set(dataSource, canceller);
  }
  await canceller.query('select pg_cancel_backend($1)', [processID]).catch(() => undefined);
}

/** Runs `work`, and cancels what the connection runs when the caller leaves; ends only after a cancellation under way has. */
export async function cancellable<T>(
  dataSource: DataSource,
  processID: number,
  { signal }: Caller,
  work: () => Promise<T>,
): Promise<T> {
  if (!signal) return work();
  let cancelling: Promise<void> | undefined;
  const cancel = () => {
    cancelling = cancelStatement(dataSource, processID);
  };
  signal.addEventListener('abort', cancel, { once: true });
  try {
    return await work();
  } finally {
    signal.removeEventListener('abort', cancel);
    await cancelling;
  }
}

/** `query_canceled`: what Postgres answers to a statement timeout and to a cancellation. */
const QUERY_CANCELED = '57014';
/** `lock_not_available`: a lock was not given within `lock_timeout`. */
const LOCK_NOT_AVAILABLE = '55P03';

/** A cancelled statement, or one that waited too long for a lock, as what it is to its caller; anything else as it is. */
export function asDeadline(error: unknown): unknown {
  const { code } = error as { code?: unknown };
  if (code === QUERY_CANCELED) return new DeadlineError('the statement was cancelled', { cause: error });
  if (code === LOCK_NOT_AVAILABLE) return new DeadlineError('a lock was not given in time', { cause: error });
  return error;
}
