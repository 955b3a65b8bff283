import { errorOf, SluiceError } from './error.js';
import { abandonable, type Lock } from './lock.js';
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
  /** A call was refused because this guest's quota is used up. */
  readonly quota_used_up?: boolean;
}

/** The answer of login, refresh and guest. */
export interface TokenAnswer {
  readonly access_token: string;
  readonly refresh_token?: string;
  readonly expires_in?: number;
  readonly session_id?: string;
  readonly guest?: boolean;
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
  /** Sends the refresh token. */
  readonly refresh: (refreshToken: string) => Promise<Response>;
  readonly onSignedOut: (error: SluiceError) => void;
}

const KEY = 'session';
/** Those who fail with the old token within this time get the failure of the attempt before. */
const FAILURE_KEPT_MS = 1_000;
/** Statuses by which a server says that a refresh token is no good; anything else is trouble that may pass. */
const REFUSALS: readonly number[] = [400, 401, 403];

/** Keeps one session and renews it: once, however many calls find its access token expired. */
export class SessionKeeper {
  #flight: { readonly used: string; readonly renewal: Promise<Renewal> } | undefined;
  #failure: { readonly used: string; readonly at: number; readonly error: unknown } | undefined;

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

  /** Runs alone among all who share the lock: nobody else changes the session meanwhile. */
  exclusively<T>(task: () => Promise<T>, signal?: AbortSignal | null): Promise<T> {
    const { lock, lockName, store } = this.options;
    const caughtUp = async () => {
      await store.catchUp?.();
      return task();
    };
    return lock.run(lockName, caughtUp, signal ?? undefined);
  }

  /**
   * Another access token than the one that was refused.
   *
   * @throws SluiceError `REFRESH_FAILED`; the session is kept
   */
  renew(used: string, signal?: AbortSignal | null): Promise<Renewal> {
    if (this.#failure?.used === used && Date.now() - this.#failure.at < FAILURE_KEPT_MS) {
      return Promise.reject(this.#failure.error as Error);
    }
    if (this.#flight?.used !== used) {
      // Without the caller's signal: others wait for the same attempt.
      const renewal = this.#renew(used);
      const flight = { used, renewal };
      this.#flight = flight;
      const land = () => {
        if (this.#flight === flight) this.#flight = undefined;
      };
      renewal.then(land, (error: unknown) => {
        land();
        this.#failure = { used, at: Date.now(), error };
      });
    }
    return abandonable(this.#flight.renewal, signal);
  }

  async #renew(used: string): Promise<Renewal> {
    // Somebody else may have been faster, also in another process: then there is nothing to wait for.
    const known = outcomeFor(await this.load(), used);
    if (known !== undefined) return known;
    return this.exclusively(async () => {
      const session = await this.load();
      const outcome = outcomeFor(session, used);
      if (outcome !== undefined || session?.refresh_token === undefined) return outcome ?? { kind: 'signed_out' };
      const answer = await this.#ask(session.refresh_token);
      if (answer === undefined) {
        await this.put(undefined);
        return { kind: 'signed_out' };
      }
      const renewed = sessionOf(answer);
      // A server that does not rotate sends no new refresh token.
      const kept = { refresh_token: session.refresh_token, session_id: session.session_id, guest: session.guest };
      await this.put({ ...kept, ...renewed });
      return { kind: 'renewed', token: renewed.access_token };
    });
  }

  /** The server's answer; undefined when it refuses the refresh token. */
  async #ask(refreshToken: string): Promise<TokenAnswer | undefined> {
    let response: Response;
    try {
      response = await this.options.refresh(refreshToken);
      if (response.ok) return (await response.json()) as TokenAnswer;
    } catch (cause) {
      throw new SluiceError('REFRESH_FAILED', 'the server did not answer the refresh', { cause });
    }
    const error = await errorOf(response);
    if (REFUSALS.includes(response.status)) {
      this.options.onSignedOut(error);
      return undefined;
    }
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
function outcomeFor(session: Session | undefined, used: string): Renewal | undefined {
  if (session === undefined) return { kind: 'signed_out' };
  if (session.access_token !== used) return { kind: 'renewed', token: session.access_token };
  return session.refresh_token === undefined ? { kind: 'not_renewable' } : undefined;
}
