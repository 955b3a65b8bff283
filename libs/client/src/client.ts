import { baseUrlOf, urlBelow, type BaseUrl } from './base-url.js';
import { errorOf, SluiceError } from './error.js';
import type { StreamRoutes, UnaryRoutes, user } from './generated/api.js';
import { Guests, type GuestAlert, type GuestCause, type GuestPermission, type GuestRecord } from './guest.js';
import { checkGuestOptions, type GuestOptions } from './guest-limits.js';
import { inProcessLock, type Lock } from './lock.js';
import { checkOptionNames } from './option-names.js';
import { keepRefusedWrites } from './refused-writes.js';
import { fillRoute } from './route.js';
import { eitherSignal, headerFields, throwIfAborted, timeoutSignal } from './runtime.js';
import { isWithin, SessionKeeper, sessionOf, type Session, type TokenAnswer } from './session.js';
import { SharedGets } from './shared-gets.js';
import { memoryStore, type Store } from './store.js';
import { messagesOf } from './stream.js';

export interface ClientOptions {
  /** Where the API begins, e.g. `https://sluice.example/api/v1`; in a browser also relative to the page. */
  readonly baseUrl: string | URL;
  /** Where the session is kept; in memory when absent. */
  readonly store?: Store;
  /** Must be shared by all who share the store; within this process when absent. */
  readonly lock?: Lock;
  /**
   * Where the refresh token is: `stored` with the session (the default), or in a `cookie` that no script can read. Then a
   * page that is loaded again asks once whether the browser still has one. For browsers, and pages of an origin that the
   * server allows (COOKIE_ORIGINS); guests keep theirs in the store.
   */
  readonly refreshToken?: 'stored' | 'cookie';
  /** Gets a guest token when there is no session; options say how the device is called, and how often it asks. */
  readonly guest?: boolean | GuestOptions;
  /** Called when the session has ended without `logout`: its refresh token was refused. */
  readonly onSignedOut?: (error: SluiceError) => void;
  /** Called after each request for a guest token, with the counts that an alert needs. */
  readonly onAcquire?: (alert: GuestAlert) => void;
  /** The store refused a write (it is full, or forbidden): the session goes on in memory, and the write is tried again later. */
  readonly onStoreError?: (error: unknown) => void;
  /** How long a refresh or a request for a guest token may take. Default 30 000. */
  readonly tokenTimeoutMs?: number;
  /** How long to wait for somebody else who has the lock. Default 90 000: longer than it takes a lock of ours to change hands. */
  readonly lockTimeoutMs?: number;
  /**
   * Whether equal GETs that are under way at the same time become one request, whose answer each gets. A GET joins none that was sent
   * before another call (POST, …) of this client. Streams are never shared. Default false.
   */
  readonly shareGets?: boolean;
  /** Sends the requests; the global `fetch` when absent. Gets the address as text, and header fields as an object. */
  readonly fetch?: typeof fetch;
  /** Makes up a name for the device that nobody guesses; `crypto.randomUUID` when absent. */
  readonly randomId?: () => string | Promise<string>;
}

const OPTIONS: readonly (keyof ClientOptions)[] = [
  'baseUrl',
  'store',
  'lock',
  'refreshToken',
  'guest',
  'onSignedOut',
  'onAcquire',
  'onStoreError',
  'tokenTimeoutMs',
  'lockTimeoutMs',
  'shareGets',
  'fetch',
  'randomId',
];

export interface CallOptions {
  readonly signal?: AbortSignal;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface StreamOptions extends CallOptions {
  /** The form that the stream takes on the wire. Default `ndjson`. */
  readonly form?: 'ndjson' | 'sse';
}

/** A guest's tokens: when they may be asked for, and what became of it. */
export interface GuestClient {
  /** Whether a guest token may be asked for now; if not, why not and for how long. Asks nobody. */
  canAcquire(): Promise<GuestPermission>;
  /**
   * What the server would say: whether it would issue a new token now, and what is left of each of its limits, which hold here
   * too from then on. Spends nothing. @throws SluiceError for every answer that is not 2xx
   */
  limits(options?: { signal?: AbortSignal }): Promise<user.GuestAllowance>;
  /** The live guest session, or a new one. @throws SluiceError `GUEST_NOT_ALLOWED`, or the server's error */
  acquire(options?: { cause?: GuestCause; signal?: AbortSignal }): Promise<Session>;
  /** The requests of the last day with their causes, oldest first. */
  records(): Promise<readonly GuestRecord[]>;
  /** Makes the guest a user, who keeps the guest's id and data. */
  upgrade(account: { email: string; password: string }, options?: CallOptions): Promise<Session>;
}

export interface SluiceClient {
  /**
   * `fetch` below the base URL with the session's token. A 401 is answered by one refresh for all calls that met it, and
   * this call is sent once more (not when its body is a stream). Every other answer is handed on, 429 included, and a 401
   * that is not about the token: nothing is retried, `retryAfterMs(response)` says how long to wait.
   *
   * @throws SluiceError `REFRESH_FAILED`, `LOCK_TIMEOUT`, `GUEST_NOT_ALLOWED`; what `fetch` throws; the reason of the signal
   */
  fetch(path: string | URL, init?: RequestInit): Promise<Response>;
  /** One call of the contract, by method and path. @throws SluiceError for every answer that is not 2xx */
  call<R extends keyof UnaryRoutes>(
    route: R,
    request: UnaryRoutes[R]['request'],
    options?: CallOptions,
  ): Promise<UnaryRoutes[R]['response']>;
  /** A call whose answer comes in parts. Leaving the loop ends the call. @throws SluiceError also after the first parts */
  stream<R extends keyof StreamRoutes>(
    route: R,
    request: StreamRoutes[R]['request'],
    options?: StreamOptions,
  ): AsyncGenerator<StreamRoutes[R]['response'], void, undefined>;
  register(account: user.RegisterRequest, options?: CallOptions): Promise<user.User>;
  /** Opens a session and keeps it in place of the one before. */
  login(credentials: user.LoginRequest, options?: CallOptions): Promise<Session>;
  /** Ends the session here and at the server. Here it ends in any case. */
  logout(options?: CallOptions & { everywhere?: boolean }): Promise<void>;
  /** The session that is kept, if any; with the refresh token in a cookie, also the one that the browser still has. */
  session(): Promise<Session | undefined>;
  /** Keeps a session that came from elsewhere, or forgets the one that is kept. */
  setSession(session: Session | undefined): Promise<void>;
  readonly guest: GuestClient;
}

export function createClient(options: ClientOptions): SluiceClient {
  return new Client(options);
}

class Client implements SluiceClient {
  readonly #base: BaseUrl;
  readonly #send: typeof fetch;
  readonly #keeper: SessionKeeper;
  readonly #guests: Guests;
  readonly #wantsGuest: boolean;
  readonly #shared: SharedGets | undefined;
  /** Whose session an answer was for, for what a stream says only later. */
  readonly #sessions = new WeakMap<Response, Session>();
  readonly #tokenTimeoutMs: number;
  readonly #byCookie: boolean;
  /** Nobody has asked yet whether the browser has a refresh cookie. */
  #mayHaveCookie: boolean;
  /** An access token that was refused as soon as it had been refreshed: another refresh would bring the like. */
  #refusedFresh: { readonly token: string; readonly at: number } | undefined;
  readonly guest: GuestClient;

  constructor(options: ClientOptions) {
    checkOptionNames('createClient', options, OPTIONS);
    const own = typeof options.guest === 'object' ? options.guest : {};
    checkGuestOptions(own);
    const page = (globalThis as { location?: { href: string } }).location;
    this.#base = baseUrlOf(options.baseUrl, page?.href);
    this.#shared = options.shareGets ? new SharedGets() : undefined;
    const send = options.fetch ?? globalThis.fetch;
    this.#send = (input, init) => send(input, init);
    this.#tokenTimeoutMs = options.tokenTimeoutMs ?? 30_000;
    const store = keepRefusedWrites(options.store ?? memoryStore(), options.onStoreError ?? (() => undefined));
    this.#byCookie = options.refreshToken === 'cookie';
    this.#mayHaveCookie = this.#byCookie;
    this.#keeper = new SessionKeeper({
      store,
      lock: options.lock ?? inProcessLock(),
      lockName: `sluice ${this.#base.text}`,
      lockTimeoutMs: options.lockTimeoutMs ?? 90_000,
      byCookie: this.#byCookie,
      refresh: (refreshToken) =>
        this.#post('auth/refresh', refreshToken === undefined ? {} : { refresh_token: refreshToken }),
      onSignedOut: options.onSignedOut ?? (() => undefined),
    });
    this.#wantsGuest = Boolean(options.guest);
    this.#guests = new Guests({
      keeper: this.#keeper,
      store,
      own,
      randomId: options.randomId ?? (() => crypto.randomUUID()),
      ask: (body, signal) => this.#post('auth/guest', body, signal),
      askLimits: (body, signal) => this.#post('auth/guest/limits', body, signal),
      onAcquire: options.onAcquire,
    });
    this.guest = {
      canAcquire: () => this.#guests.canAcquire(),
      limits: ({ signal } = {}) => this.#guests.limits(signal),
      acquire: async (wish = {}) => {
        checkOptionNames('guest.acquire', wish, ['cause', 'signal']);
        return this.#guests.acquire(wish.cause ?? 'no_token', wish.signal);
      },
      records: () => this.#guests.records(),
      upgrade: (account, callOptions) =>
        this.#open(() => this.#fetchJson('auth/guest/upgrade', jsonRequest(account, callOptions))),
    };
  }

  async fetch(path: string | URL, init: RequestInit = {}): Promise<Response> {
    return this.#fetch(path, init, this.#shared);
  }

  async #fetch(path: string | URL, init: RequestInit, shared: SharedGets | undefined): Promise<Response> {
    const url = urlBelow(this.#base, path);
    const { signal } = init;
    throwIfAborted(signal);
    const fields = headerFields(init.headers);
    const session = 'authorization' in fields ? undefined : await this.#sessionForCall(signal);
    const key = shared?.keyOf(url, init, fields, session?.access_token);
    if (shared === undefined || key === undefined) return this.#exchange(session, url, init, fields);
    return shared.join(key, signal, (own) => this.#exchange(session, url, { ...init, signal: own }, fields));
  }

  /** Sends a call, and once more after a refresh. */
  async #exchange(
    session: Session | undefined,
    url: string,
    init: RequestInit,
    fields: Readonly<Record<string, string>>,
  ): Promise<Response> {
    const response = await this.#sendWith(session?.access_token, url, init, fields);
    if (session === undefined) return response;
    this.#sessions.set(response, session);
    if (response.status === 429 && session.guest) await this.#noteQuota(session, await errorOf(response.clone()));
    if (response.status !== 401 || !(await this.#wantsRefresh(session, response))) return response;
    const token = await this.#tokenInstead(session, init.signal);
    if (token === undefined || isStream(init.body)) return response;
    // Read rather than cancelled, so that its connection can take the call again.
    await response.arrayBuffer().catch(() => undefined);
    const again = await this.#sendWith(token, url, init, fields);
    if (again.status === 401) this.#refusedFresh = { token, at: Date.now() };
    this.#sessions.set(again, { ...session, access_token: token });
    return again;
  }

  async call<R extends keyof UnaryRoutes>(
    route: R,
    request: UnaryRoutes[R]['request'],
    options: CallOptions = {},
  ): Promise<UnaryRoutes[R]['response']> {
    const { method, path, body } = fillRoute(route, request);
    return this.#fetchJson(path.slice(1), withBody({ method, ...options }, body));
  }

  async *stream<R extends keyof StreamRoutes>(
    route: R,
    request: StreamRoutes[R]['request'],
    options: StreamOptions = {},
  ): AsyncGenerator<StreamRoutes[R]['response'], void, undefined> {
    const { method, path, body } = fillRoute(route, request);
    const accept = options.form === 'sse' ? 'text/event-stream' : 'application/x-ndjson';
    const init = withBody({ method, ...options, headers: { accept, ...options.headers } }, body);
    const response = await this.#fetch(path.slice(1), init, undefined);
    if (!response.ok) throw await errorOf(response);
    try {
      yield* messagesOf<StreamRoutes[R]['response']>(response);
    } catch (error) {
      const session = this.#sessions.get(response);
      if (session?.guest && error instanceof SluiceError) await this.#noteQuota(session, error);
      throw error;
    }
  }

  async register(account: user.RegisterRequest, options?: CallOptions): Promise<user.User> {
    const response = await this.#send(this.#resolve('auth/register'), jsonRequest(account, options));
    if (!response.ok) throw await errorOf(response);
    return ((await response.json()) as { user: user.User }).user;
  }

  login(credentials: user.LoginRequest, options?: CallOptions): Promise<Session> {
    return this.#open(async () => {
      const body = this.#byCookie ? { ...credentials, cookie: true } : credentials;
      const response = await this.#send(this.#resolve('auth/login'), this.#withCookie(jsonRequest(body, options)));
      if (!response.ok) throw await errorOf(response);
      return (await response.json()) as TokenAnswer;
    });
  }

  async logout({ everywhere = false, ...options }: CallOptions & { everywhere?: boolean } = {}): Promise<void> {
    const session = await this.#kept(options.signal);
    if (session === undefined) return;
    try {
      const response = await this.fetch('auth/logout', this.#withCookie(jsonRequest({ everywhere }, options)));
      // Whoever is refused is signed out already.
      if (!response.ok && response.status !== 401) throw await errorOf(response);
    } finally {
      await this.setSession(undefined);
    }
  }

  session(): Promise<Session | undefined> {
    return this.#kept();
  }

  setSession(session: Session | undefined): Promise<void> {
    return this.#keeper.exclusively(() => this.#keeper.put(session));
  }

  async #sessionForCall(signal: AbortSignal | null | undefined): Promise<Session | undefined> {
    const session = await this.#kept(signal);
    return session === undefined && this.#wantsGuest ? this.#guests.acquire('no_token', signal) : session;
  }

  async #kept(signal?: AbortSignal | null): Promise<Session | undefined> {
    const session = await this.#keeper.load();
    if (session !== undefined || !this.#mayHaveCookie) return session;
    await this.#keeper.renew(undefined, signal);
    this.#mayHaveCookie = false;
    return this.#keeper.load();
  }

  /** Whether a 401 is about the access token, and another one may help. */
  async #wantsRefresh(session: Session, response: Response): Promise<boolean> {
    const fresh = this.#refusedFresh;
    if (fresh?.token === session.access_token && isWithin(REFUSED_FRESH_MS, fresh.at)) return false;
    // RFC 6750 section 3.1.
    if (/\berror="?invalid_token\b/.test(response.headers.get('www-authenticate') ?? '')) return true;
    const { code } = await errorOf(response.clone());
    if (TOKEN_REFUSED.includes(code)) return true;
    // Who does not say what it is about may mean the token, once that has expired.
    const { expires_at: expiresAt } = session;
    return UNCLEAR.includes(code) && expiresAt !== undefined && expiresAt <= Date.now();
  }

  /** The token to send a refused call again with; undefined: its 401 stands. */
  async #tokenInstead(session: Session, signal: AbortSignal | null | undefined): Promise<string | undefined> {
    const renewal = await this.#keeper.renew(session.access_token, signal);
    if (renewal.kind === 'renewed') return renewal.token;
    if (!this.#wantsGuest || !session.guest) return undefined;
    return (await this.#guests.acquire('expired', signal, session.access_token)).access_token;
  }

  async #sendWith(
    token: string | undefined,
    url: string,
    init: RequestInit,
    fields: Readonly<Record<string, string>>,
  ): Promise<Response> {
    const headers = token === undefined ? { ...fields } : { ...fields, authorization: `Bearer ${token}` };
    return this.#send(url, { ...init, headers });
  }

  /**
   * A guest whose budget is spent, or whose own share of it, may ask for another token (C2). Not for a limit of rates: that passes. Nor
   * for too many allocations in flight, which end.
   */
  async #noteQuota(session: Session, { code, blockedBy }: SluiceError): Promise<void> {
    if (session.quota_used_up || (code !== 'BUDGET_EXHAUSTED' && blockedBy !== 'budget')) return;
    if (blockedBy === 'caller_requests') return;
    await this.#keeper.exclusively(async () => {
      const current = await this.#keeper.load();
      if (current?.access_token === session.access_token) await this.#keeper.put({ ...current, quota_used_up: true });
    });
  }

  /** Asks for a session and keeps it, while nobody refreshes the one before. */
  async #open(ask: () => Promise<unknown>): Promise<Session> {
    const session = sessionOf((await ask()) as TokenAnswer);
    await this.setSession(session);
    return session;
  }

  async #fetchJson<T>(path: string, init: RequestInit): Promise<T> {
    const response = await this.fetch(path, init);
    if (!response.ok) throw await errorOf(response);
    return (await response.json()) as T;
  }

  #post(path: string, body: object, signal?: AbortSignal | null): Promise<Response> {
    const either = eitherSignal(signal, timeoutSignal(this.#tokenTimeoutMs));
    // Others wait for what it brings.
    const init = { ...jsonRequest(body, { signal: either }), priority: 'high' } as const;
    return this.#send(this.#resolve(path), this.#withCookie(init));
  }

  /** Cookies of another origin's answers are kept and sent only when that is asked for. */
  #withCookie(init: RequestInit): RequestInit {
    return this.#byCookie ? { ...init, credentials: 'include' } : init;
  }

  #resolve(path: string): string {
    return urlBelow(this.#base, path);
  }
}

/** Codes of a 401 by which the gateway refuses an access token. */
const TOKEN_REFUSED: readonly string[] = ['TOKEN_EXPIRED', 'TOKEN_INVALID', 'SESSION_REVOKED'];
/** A service's own refusal, and an answer that is not Sluice's. */
const UNCLEAR: readonly string[] = ['UNAUTHENTICATED', 'UNEXPECTED_ANSWER'];
/** A token that was refused at once is not refreshed again for so long, in milliseconds: at most one refresh a minute. */
const REFUSED_FRESH_MS = 60_000;

function jsonRequest(body: object, options: CallOptions = {}): RequestInit {
  return withBody({ method: 'POST', ...options }, JSON.stringify(body));
}

function withBody(init: RequestInit, body: string | undefined): RequestInit {
  if (body === undefined) return init;
  return {
    ...init,
    headers: { 'content-type': 'application/json', ...(init.headers as Record<string, string>) },
    body,
  };
}

/** A body that can be read once only, so that its call cannot be sent again. */
function isStream(body: unknown): boolean {
  return body !== null && typeof body === 'object' && ('getReader' in body || Symbol.asyncIterator in body);
}
