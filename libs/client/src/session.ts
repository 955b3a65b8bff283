import type { user } from './generated/api.js';
import { errorOf, SluiceError } from './error.js';
import { abandonable, type Lock } from './lock.js';
import { eitherSignal, newController } from './runtime.js';
import type { Store } from './store.js';

/** The tokens of a session as they are kept. */
export interface Session {
  readonly access_token: string;
  /** Absent: the session ends with its access token. */
  readonly refresh_token?: string;
  readonly session_id?: string;
  readonly guest?: boolean;
  /** When the access token expires, in milliseconds of this machine's clock; absent when that was not said. */
  readonly expires_at?: number;
  /** A call was refused because the budget of this guest is spent. */
  readonly quota_used_up?: boolean;
}

/** The answer of login, refresh and guest. */
export interface TokenAnswer {
  readonly access_token: string;
  readonly refresh_token?: string;
  readonly expires_in?: number;
  readonly session_id?: string;
  readonly guest?: boolean;
  /** How often another guest token may be asked for. */
  readonly guest_terms?: user.GuestTerms;
}

export function sessionOf(answer: TokenAnswer): Session {
  if (typeof answer.access_token !== 'string' || answer.access_token === '') {
    throw new SluiceError('UNEXPECTED_ANSWER', 'the answer has no access token');
  }
  return {
    access_token: answer.access_token,
    ...(answer.refresh_token && { refresh_token: answer.refresh_token }),
    ...(answer.session_id && { session_id: answer.session_id }),
    ...(answer.guest && { guest: true }),
    ...(answer.expires_in && { expires_at: Date.now() + answer.expires_in * 1000 }),
  };
}

/**
 * What came of an attempt to renew an access token:
 * - `renewed`: there is another one, from this attempt or from somebody else's;
 * - `signed_out`: the session has ended;
 * - `not_renewable`: the session has no refresh token.
 */
export type Renewal =
  { readonly kind: 'renewed'; readonly token: string } | { readonly kind: 'signed_out' | 'not_renewable' };

export interface SessionKeeperOptions {
  readonly store: Store;
  readonly lock: Lock;
  readonly lockName: string;
  /** How long to wait for the lock, in milliseconds. */
  readonly lockTimeoutMs: number;
  /** A session without a refresh token is renewed by the browser's cookie. */
  readonly byCookie: boolean;
  /** Sends the refresh token; undefined: the browser sends its cookie. */
  readonly refresh: (refreshToken: string | undefined) => Promise<Response>;
  readonly onSignedOut: (error: SluiceError) => void;
}

const KEY = 'session';
/** Those who fail with the old token within this time get the failure of the attempt before. */
const FAILURE_KEPT_MS = 1_000;
/**
 * Codes by which the server says that a refresh token is no good. Anything else is trouble that may pass, whatever its
 * status: a firewall answers 403 with a page, a proxy 401, a gateway that is being set up 400.
 */
const ENDED: readonly string[] = ['INVALID_GRANT', 'SESSION_REVOKED'];

/** Keeps one session and renews it: once, however many calls find its access token expired. */
export class SessionKeeper {
  #flight: { readonly used: string | undefined; readonly renewal: Promise<Renewal> } | undefined;
  #failure: { readonly used: string | undefined; readonly at: number; readonly error: unknown } | undefined;

  constructor(private readonly options: SessionKeeperOptions) {}

  async load(): Promise<Session | undefined> {
    const text = await this.options.store.get(KEY);
    if (text === undefined) return undefined;
    try {
      const session = JSON.parse(text) as Session;
      if (typeof session.access_token === 'string') return session;
    } catch {
      // What cannot be read is no session.
    }
    return undefined;
  }

  /** Replaces the session. For whoever holds the lock. */
  async put(session: Session | undefined): Promise<void> {
    if (session === undefined) await this.options.store.delete(KEY);
    else await this.options.store.set(KEY, JSON.stringify(session));
  }

  /**
   * Runs alone among all who share the lock: nobody else changes the session meanwhile.
   *
   * @throws SluiceError `LOCK_TIMEOUT` when somebody keeps the lock for too long
   */
  async exclusively<T>(task: () => Promise<T>, signal?: AbortSignal | null): Promise<T> {
    const { lock, lockName, lockTimeoutMs, store } = this.options;
    const waiting = newController();
    const timer = setTimeout(() => {
      const text = `the lock "${lockName}" was not given back within ${lockTimeoutMs} ms by whoever shares the store`;
      waiting.abort(new SluiceError('LOCK_TIMEOUT', text));
    }, lockTimeoutMs);
    const caughtUp = async () => {
      clearTimeout(timer);
      await store.catchUp?.();
      return task();
    };
    try {
      return await lock.run(lockName, caughtUp, eitherSignal(signal, waiting.signal));
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Another access token than the one that was refused.
   *
   * @throws SluiceError `REFRESH_FAILED`; the session is kept
   */
  renew(used: string | undefined, signal?: AbortSignal | null): Promise<Renewal> {
    const failure = this.#failure;
    if (failure && failure.used === used && isWithin(FAILURE_KEPT_MS, failure.at)) {
      return Promise.reject(failure.error as Error);
    }
    let flight = this.#flight;
    if (flight === undefined || flight.used !== used) {
      // Without the caller's signal: others wait for the same attempt.
      const renewal = this.#renew(used);
      const own = (flight = { used, renewal });
      this.#flight = own;
      const land = () => {
        if (this.#flight === own) this.#flight = undefined;
      };
      renewal.then(land, (error: unknown) => {
        land();
        this.#failure = { used, at: Date.now(), error };
      });
    }
    return abandonable(flight.renewal, signal);
  }

  async #renew(used: string | undefined): Promise<Renewal> {
    const { byCookie } = this.options;
    // Somebody else may have been faster, also in another process: then there is nothing to wait for.
    const known = outcomeFor(await this.load(), used, byCookie);
    if (known !== undefined) return known;
    return this.exclusively(async () => {
      const session = await this.load();
      const outcome = outcomeFor(session, used, byCookie);
      if (outcome !== undefined) return outcome;
      const renewed = await this.#ask(session?.refresh_token);
      if (renewed instanceof SluiceError) {
        await this.put(undefined);
        // Without a session it was only asked whether the browser has a cookie.
        if (session !== undefined) this.options.onSignedOut(renewed);
        return { kind: 'signed_out' };
      }
      // Who was taken for dead, such as a tab that was frozen, has lost the lock meanwhile, and must not undo what came after.
      const current = await this.load();
      if (current?.access_token !== session?.access_token)
        return outcomeFor(current, used, byCookie) ?? { kind: 'signed_out' };
      // A server that does not rotate sends no new refresh token.
      const { refresh_token, session_id, guest } = session ?? {};
      await this.put({
        ...(refresh_token !== undefined && { refresh_token }),
        ...(session_id !== undefined && { session_id }),
        ...(guest !== undefined && { guest }),
        ...renewed,
      });
      return { kind: 'renewed', token: renewed.access_token };
    });
  }

  /**
   * The session that the server answers, or its word that this one has ended.
   *
   * @throws SluiceError `REFRESH_FAILED` for everything else
   */
  async #ask(refreshToken: string | undefined): Promise<Session | SluiceError> {
    let response: Response;
    try {
      response = await this.options.refresh(refreshToken);
      if (response.ok) return sessionOf((await response.json()) as TokenAnswer);
    } catch (cause) {
      throw new SluiceError('REFRESH_FAILED', 'the server did not answer the refresh', { cause });
    }
    const error = await errorOf(response);
    if (ENDED.includes(error.code)) return error;
    throw new SluiceError('REFRESH_FAILED', `the refresh was not answered: ${error.message}`, {
      status: response.status,
      details: error.details,
      ...(error.retryAfterMs !== undefined && { retryAfterMs: error.retryAfterMs }),
      ...(error.traceId !== undefined && { traceId: error.traceId }),
      cause: error,
    });
  }
}

/** What is known without asking: undefined when the refused token is still the session's and can be renewed. */
function outcomeFor(session: Session | undefined, used: string | undefined, byCookie: boolean): Renewal | undefined {
  if (session === undefined) return used === undefined && byCookie ? undefined : { kind: 'signed_out' };
  if (session.access_token !== used) return { kind: 'renewed', token: session.access_token };
  return session.refresh_token === undefined && !byCookie ? { kind: 'not_renewable' } : undefined;
}

/** Whether less than `ms` have passed since then; a clock that was set back has not stood still since. */
export function isWithin(ms: number, since: number): boolean {
  const age = Date.now() - since;
  return age >= 0 && age < ms;
}
