import { errorOf, SluiceError } from './error.js';
import type { user } from './generated/api.js';
import { ISSUED_KEPT, limitsOf, type DeviceLimits, type GuestOptions } from './guest-limits.js';
import { sessionOf, type Session, type SessionKeeper, type TokenAnswer } from './session.js';
import type { Store } from './store.js';

/**
 * Why a guest token is asked for: for the server's report. The client itself says one of these three; `quota_used_up` gets a new
 * token although one is alive. Names of your own (`restart`, `manual_test`, …) have 1 to 64 of a–z, 0–9, `_`, `-` and `.`.
 */
export type GuestCause = 'no_token' | 'expired' | 'quota_used_up' | (string & {});

/** One request for a guest token. */
export interface GuestRecord {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly cause: GuestCause;
  /** `refused` by the server, `failed` without an answer. */
  readonly outcome: 'issued' | 'refused' | 'failed';
  readonly status?: number;
  readonly retry_after_ms?: number;
}

/** What an alert can watch: the request that was just made and how many there were. */
export interface GuestAlert {
  readonly record: GuestRecord;
  readonly deviceId: string;
  readonly inLastHour: number;
  readonly inLastDay: number;
  readonly failuresInARow: number;
}

/**
 * Why no guest token may be asked for:
 * - `signed_in`: a user is;
 * - `live_token`: there is one, neither expired nor used up;
 * - `interval`, `hour`, `day`: asked too recently or too often;
 * - `back_off`: the last requests failed, or the server said to wait.
 */
export type GuestReason = 'signed_in' | 'live_token' | 'interval' | 'hour' | 'day' | 'back_off';

export type GuestPermission =
  | { readonly allowed: true }
  | {
      readonly allowed: false;
      readonly reason: GuestReason;
      /** Absent when waiting does not help. */
      readonly retryAfterMs?: number;
    };

export interface GuestsOptions {
  readonly keeper: SessionKeeper;
  readonly store: Store;
  readonly own: GuestOptions;
  readonly randomId: () => string | Promise<string>;
  readonly ask: (body: user.CreateGuestRequest, signal?: AbortSignal | null) => Promise<Response>;
  readonly askLimits: (body: user.GetGuestLimitsRequest, signal?: AbortSignal | null) => Promise<Response>;
  readonly onAcquire: ((alert: GuestAlert) => void) | undefined;
}

interface Ledger {
  readonly device_id: string;
  readonly records: readonly GuestRecord[];
  /** What the server has told of its limits. */
  readonly terms?: user.GuestTerms;
}

const KEY = 'guest';
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const BACK_OFF_MS_MAX = HOUR_MS;
/** Failures that are remembered: more would only make a wait longer that is at its longest already. */
const FAILURES_KEPT = 100;
/** As the server checks it. */
const CAUSE = /^[a-z0-9_.-]{1,64}$/;
/** A record from farther in the future was made while this machine's clock was wrong, and says nothing about now. */
const CLOCK_TOLERANCE_MS = 60_000;

/** Asks for guest tokens, as seldom as the server allows, and remembers each request. */
export class Guests {
  constructor(private readonly options: GuestsOptions) {}

  /** Whether a guest token may be asked for now; asks nobody. */
  async canAcquire(): Promise<GuestPermission> {
    const session = await this.options.keeper.load();
    return permission(session, await this.#ledger(), this.options.own);
  }

  /**
   * What the server would say of another token now, which spends nothing; its limits hold here from now on.
   *
   * @throws SluiceError for every answer that is not 2xx
   */
  async limits(signal?: AbortSignal | null): Promise<user.GuestAllowance> {
    const { keeper, store, askLimits } = this.options;
    const { device_id } = await keeper.exclusively(async () => {
      const ledger = await this.#ledger();
      await store.set(KEY, JSON.stringify(ledger));
      return ledger;
    }, signal);
    const response = await askLimits({ device_id }, signal);
    if (!response.ok) throw await errorOf(response);
    const allowance = (await response.json()) as user.GuestAllowance;
    const { terms } = allowance;
    if (terms)
      await keeper.exclusively(async () => store.set(KEY, JSON.stringify({ ...(await this.#ledger()), terms })));
    return allowance;
  }

  /** The requests of the last day, oldest first. */
  async records(): Promise<readonly GuestRecord[]> {
    return (await this.#ledger()).records;
  }

  /**
   * A guest session: the live one, or a new one. Everybody who shares the store and lock asks once.
   *
   * @param used the access token that was refused as expired, if that is why
   * @throws SluiceError `GUEST_NOT_ALLOWED` with `details.reason`; the server's error; TypeError for a cause that is none
   */
  async acquire(cause: GuestCause, signal?: AbortSignal | null, used?: string): Promise<Session> {
    if (!CAUSE.test(cause)) {
      throw new TypeError(`cause ${JSON.stringify(cause)}: expected 1 to 64 of a–z, 0–9, _, - and .`);
    }
    return this.options.keeper.exclusively(async () => {
      const session = await this.options.keeper.load();
      const live = isLive(session) && session.access_token !== used;
      if (live && (session.guest !== true || !session.quota_used_up)) return session;
      const ledger = await this.#ledger();
      const permitted = permission(used === session?.access_token ? undefined : session, ledger, this.options.own);
      if (!permitted.allowed) throw notAllowed(permitted);
      if (!live) return this.#ask(ledger, { cause }, signal);
      // Whatever the caller's cause is: for any other the server would return the token that is no use.
      const { session_id: spent } = session;
      return this.#ask(ledger, { cause: 'quota_used_up', ...(spent && { spent_session_id: spent }) }, signal);
    }, signal);
  }

  async #ask(
    ledger: Ledger,
    wish: { readonly cause: GuestCause; readonly spent_session_id?: string },
    signal: AbortSignal | null | undefined,
  ): Promise<Session> {
    const { ask, keeper } = this.options;
    const { cause } = wish;
    const at = Date.now();
    let response: Response;
    let session: Session | undefined;
    let terms = ledger.terms;
    try {
      response = await ask({ device_id: ledger.device_id, ...wish }, signal);
      if (response.ok) {
        const answer = (await response.json()) as TokenAnswer;
        // What a captive portal answers with 200 is no session either.
        session = { ...sessionOf(answer), guest: true };
        terms = answer.guest_terms ?? terms;
      }
    } catch (error) {
      await this.#record(ledger, { at, cause, outcome: 'failed' });
      throw error;
    }
    if (session === undefined) {
      const error = await errorOf(response);
      const { retryAfterMs } = error;
      const wait = retryAfterMs === undefined ? {} : { retry_after_ms: retryAfterMs };
      await this.#record(ledger, { at, cause, outcome: 'refused', status: response.status, ...wait });
      throw error;
    }
    await keeper.put(session);
    await this.#record(
      { ...ledger, ...(terms && { terms }) },
      { at, cause, outcome: 'issued', status: response.status },
    );
    return session;
  }

  async #ledger(): Promise<Ledger> {
    const { store, own, randomId } = this.options;
    const text = await store.get(KEY);
    let kept: Partial<Ledger> = {};
    try {
      kept = JSON.parse(text ?? '{}') as Partial<Ledger>;
    } catch {
      // What cannot be read is no record.
    }
    const now = Date.now();
    const isOfLastDay = ({ at }: GuestRecord) => at > now - DAY_MS && at <= now + CLOCK_TOLERANCE_MS;
    return {
      device_id: own.deviceId ?? kept.device_id ?? (await randomId()),
      records: (Array.isArray(kept.records) ? kept.records : []).filter(isOfLastDay),
      ...(kept.terms && { terms: kept.terms }),
    };
  }

  async #record(ledger: Ledger, record: GuestRecord): Promise<void> {
    const records = bounded([...ledger.records, record]);
    await this.options.store.set(KEY, JSON.stringify({ ...ledger, records }));
    this.options.onAcquire?.({
      record,
      deviceId: ledger.device_id,
      inLastHour: records.filter(({ at }) => at > record.at - HOUR_MS).length,
      inLastDay: records.length,
      failuresInARow: failuresAtEnd(records).length,
    });
  }
}

function notAllowed({ reason, retryAfterMs }: GuestPermission & { allowed: false }): SluiceError {
  return new SluiceError('GUEST_NOT_ALLOWED', `no guest token may be asked for now: ${reason}`, {
    details: { reason },
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}

/** Failures never push out what was issued, by which the limits are counted. */
function bounded(records: readonly GuestRecord[]): readonly GuestRecord[] {
  const kept = new Set([...issuedOf(records).slice(-ISSUED_KEPT), ...failuresOf(records).slice(-FAILURES_KEPT)]);
  return records.filter((record) => kept.has(record));
}

/** The limits of a device, kept here too so that they are not found out by asking; the longest wait counts. */
function permission(session: Session | undefined, { records, terms }: Ledger, own: GuestOptions): GuestPermission {
  const now = Date.now();
  if (session !== undefined && session.guest !== true) return { allowed: false, reason: 'signed_in' };
  if (isLive(session) && !session.quota_used_up) {
    const { expires_at: expiresAt } = session;
    return {
      allowed: false,
      reason: 'live_token',
      ...(expiresAt !== undefined && { retryAfterMs: expiresAt - now }),
    };
  }
  const { perHour, perDay, intervalMs, backOff } = limitsOf(own, terms);
  const issued = issuedOf(records);
  const after = (count: number, ms: number) => (issued[issued.length - count]?.at ?? -Infinity) + ms;
  const waits: [GuestReason, number][] = [
    ['interval', after(1, intervalMs)],
    ['hour', after(perHour, HOUR_MS)],
    ['day', after(perDay, DAY_MS)],
    ['back_off', backOffUntil(records, backOff)],
  ];
  const [reason, until] = waits.reduce((longest, wait) => (wait[1] > longest[1] ? wait : longest));
  return until > now ? { allowed: false, reason, retryAfterMs: until - now } : { allowed: true };
}

function backOffUntil(records: readonly GuestRecord[], backOff: DeviceLimits['backOff']): number {
  const failures = failuresAtEnd(records);
  const last = failures[failures.length - 1];
  if (last === undefined) return -Infinity;
  const wait = backOff ? Math.min(backOff.ms * backOff.multiplier ** (failures.length - 1), BACK_OFF_MS_MAX) : 0;
  return last.at + Math.max(wait, last.retry_after_ms ?? 0);
}

function failuresAtEnd(records: readonly GuestRecord[]): readonly GuestRecord[] {
  let end = records.length;
  while (end > 0 && records[end - 1]?.outcome !== 'issued') end--;
  return records.slice(end);
}

const issuedOf = (records: readonly GuestRecord[]) => records.filter(({ outcome }) => outcome === 'issued');
const failuresOf = (records: readonly GuestRecord[]) => records.filter(({ outcome }) => outcome !== 'issued');

function isLive(session: Session | undefined): session is Session {
  return session !== undefined && (session.expires_at === undefined || session.expires_at > Date.now());
}
