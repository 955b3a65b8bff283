import { errorOf, SluiceError } from './error.js';
import { sessionOf, type Session, type SessionKeeper, type TokenAnswer } from './session.js';
import type { Store } from './store.js';

/** Why a guest token is asked for. */
export type GuestCause = 'no_token' | 'expired' | 'quota_used_up';

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
  /** Names the device to the server; made and kept when absent. */
  readonly deviceId: string | undefined;
  readonly ask: (body: { device_id: string; cause: GuestCause }, signal?: AbortSignal | null) => Promise<Response>;
  readonly onAcquire: ((alert: GuestAlert) => void) | undefined;
}

interface Ledger {
  readonly device_id: string;
  readonly records: readonly GuestRecord[];
}

const KEY = 'guest';
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const INTERVAL_MS = 60_000;
const HOUR_MAX = 10;
const DAY_MAX = 50;
const BACK_OFF_MS = 5_000;
const BACK_OFF_MS_MAX = HOUR_MS;
const RECORDS_MAX = 200;
/** A record from farther in the future was made while this machine's clock was wrong, and says nothing about now. */
const CLOCK_TOLERANCE_MS = 60_000;

/** Asks for guest tokens, as seldom as the server allows, and remembers each request. */
export class Guests {
  constructor(private readonly options: GuestsOptions) {}

  /** Whether a guest token may be asked for now; asks nobody. */
  async canAcquire(): Promise<GuestPermission> {
    return permission(await this.options.keeper.load(), (await this.#ledger()).records, Date.now());
  }

  /** The requests of the last day, oldest first. */
  async records(): Promise<readonly GuestRecord[]> {
    return (await this.#ledger()).records;
  }

  /**
   * A guest session: the live one, or a new one. Everybody who shares the store and lock asks once.
   *
   * @param used the access token that was refused as expired, if that is why
   * @throws SluiceError `GUEST_NOT_ALLOWED` with `details.reason`; the server's error
   */
  async acquire(cause: GuestCause, signal?: AbortSignal | null, used?: string): Promise<Session> {
    return this.options.keeper.exclusively(async () => {
      const session = await this.options.keeper.load();
      const live = isLive(session) && session.access_token !== used;
      if (live && (session.guest !== true || !session.quota_used_up)) return session;
      const ledger = await this.#ledger();
      const permitted = permission(used === session?.access_token ? undefined : session, ledger.records, Date.now());
      if (!permitted.allowed) throw notAllowed(permitted);
      return this.#ask(ledger, cause, signal);
    }, signal);
  }

  async #ask(ledger: Ledger, cause: GuestCause, signal: AbortSignal | null | undefined): Promise<Session> {
    const { ask, keeper } = this.options;
    const at = Date.now();
    let response: Response;
    let session: Session | undefined;
    try {
      response = await ask({ device_id: ledger.device_id, cause }, signal);
      // What a captive portal answers with 200 is no session either.
      if (response.ok) session = { ...sessionOf((await response.json()) as TokenAnswer), guest: true };
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
    await this.#record(ledger, { at, cause, outcome: 'issued', status: response.status });
    return session;
  }

  async #ledger(): Promise<Ledger> {
    const { store, deviceId } = this.options;
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
      device_id: deviceId ?? kept.device_id ?? crypto.randomUUID(),
      records: (Array.isArray(kept.records) ? kept.records : []).filter(isOfLastDay),
    };
  }

  async #record(ledger: Ledger, record: GuestRecord): Promise<void> {
    const records = [...ledger.records, record].slice(-RECORDS_MAX);
    await this.options.store.set(KEY, JSON.stringify({ device_id: ledger.device_id, records }));
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

/** The server's limits for a device, kept here too so that they are not found out by asking; the longest wait counts. */
function permission(session: Session | undefined, records: readonly GuestRecord[], now: number): GuestPermission {
  if (session !== undefined && session.guest !== true) return { allowed: false, reason: 'signed_in' };
  if (isLive(session) && !session.quota_used_up) {
    const { expires_at: expiresAt } = session;
    return {
      allowed: false,
      reason: 'live_token',
      ...(expiresAt !== undefined && { retryAfterMs: expiresAt - now }),
    };
  }
  const issued = records.filter(({ outcome }) => outcome === 'issued');
  const waits: [GuestReason, number][] = [
    ['interval', (issued.at(-1)?.at ?? -Infinity) + INTERVAL_MS],
    ['hour', (issued.at(-HOUR_MAX)?.at ?? -Infinity) + HOUR_MS],
    ['day', (issued.at(-DAY_MAX)?.at ?? -Infinity) + DAY_MS],
    ['back_off', backOffUntil(records)],
  ];
  const [reason, until] = waits.reduce((longest, wait) => (wait[1] > longest[1] ? wait : longest));
  return until > now ? { allowed: false, reason, retryAfterMs: until - now } : { allowed: true };
}

function backOffUntil(records: readonly GuestRecord[]): number {
  const failures = failuresAtEnd(records);
  const last = failures.at(-1);
  if (last === undefined) return -Infinity;
  const backOff = Math.min(BACK_OFF_MS * 2 ** (failures.length - 1), BACK_OFF_MS_MAX);
  return last.at + Math.max(backOff, last.retry_after_ms ?? 0);
}

function failuresAtEnd(records: readonly GuestRecord[]): readonly GuestRecord[] {
  return records.slice(records.findLastIndex(({ outcome }) => outcome === 'issued') + 1);
}

function isLive(session: Session | undefined): session is Session {
  return session !== undefined && (session.expires_at === undefined || session.expires_at > Date.now());
}
