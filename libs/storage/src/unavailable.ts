/** What an error of Postgres or of its driver says about trying again. */
export interface Unavailable {
  /** For the caller. */
  readonly detail: string;
  /** Another connection may be better off: this one is not used again. */
  readonly reconnect: boolean;
}

const unreachable: Unavailable = { detail: 'The database cannot be reached.', reconnect: true };
const readOnly: Unavailable = { detail: 'The database takes no changes at present.', reconnect: true };
const stale: Unavailable = { detail: 'The database has changed; try again.', reconnect: true };
const full: Unavailable = { detail: 'The database has no room at present.', reconnect: false };
const incomplete: Unavailable = { detail: 'The database is not set up at present.', reconnect: false };
const contended: Unavailable = { detail: 'Others change the same at this moment; try again.', reconnect: false };

/**
 * By SQLSTATE, or its class (https://www.postgresql.org/docs/current/errcodes-appendix.html). What is not here is a fault of the
 * statement, and no other time is better for it.
 */
const byState: Readonly<Record<string, Unavailable>> = {
  // Connections that are lost or refused; too many of them; roles and databases that are not there yet or any more.
  '08': unreachable,
  '28': unreachable,
  '3D000': unreachable,
  '53300': unreachable,
  // Shutting down, crashed, starting up; idle for too long.
  '57P01': unreachable,
  '57P02': unreachable,
  '57P03': unreachable,
  '57P04': unreachable,
  '57P05': unreachable,
  '25P03': unreachable,
  // A primary that became a standby, or whose operator forbade changes.
  '25006': readOnly,
  // Disk, memory or a configured bound; input and output of the server.
  '53': full,
  '58': full,
  // The schema, a table, a function or the right to them: dropped, not restored yet, or of another version.
  '3F000': incomplete,
  '42P01': incomplete,
  '42883': incomplete,
  '42501': incomplete,
  // A prepared statement that the server does not know, behind a pooler, or whose plan is of another version.
  '26000': stale,
  // Serialization, deadlock, a lock that was not given in time.
  '40001': contended,
  '40P01': contended,
  '55P03': contended,
};

/** feature_not_supported: what Postgres calls a prepared plan whose tables were changed by a migration. */
const PLAN_CHANGED = 'cached plan must not change result type';
const BROKEN = /^(ECONN|EPIPE|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT)/;

/** Undefined: the error says nothing of the sort. */
export function unavailable(error: unknown): Unavailable | undefined {
  if (error instanceof AggregateError) return error.errors.length > 0 ? unavailable(error.errors[0]) : undefined;
  if (!(error instanceof Error)) return undefined;
  const code = String((error as { code?: unknown }).code ?? '');
  if (BROKEN.test(code) || error.message.startsWith('Connection terminated')) return unreachable;
  if (error.message === PLAN_CHANGED) return stale;
  return byState[code] ?? (code.length === 5 ? byState[code.slice(0, 2)] : undefined);
}

/** Whether an error says that the database could not be reached, or was lost on the way. */
export function isConnectionFailure(error: unknown): boolean {
  return unavailable(error)?.reconnect === true;
}

let lastTrouble: { readonly error: Error } | undefined;

/** Remembers that the database could not do something that it should be able to, until {@link probe} finds that it can again. */
export function noteTrouble(error: unknown): void {
  const found = unavailable(error);
  if (found === full || found === incomplete || found === readOnly) lastTrouble = { error: error as Error };
}

export const trouble = {
  get noted(): boolean {
    return lastTrouble !== undefined;
  },
  over(): void {
    lastTrouble = undefined;
  },
};
