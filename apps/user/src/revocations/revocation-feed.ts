import { Inject, Injectable, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import { LOGGER } from '@sluice/service';
import type { Logger } from '@sluice/telemetry';
import { clientClass, parseAddress, type DatabaseAddress } from '@sluice/storage';
import type pg from 'pg';
import { Subject } from 'rxjs';
import { SETTINGS, type UserSettings } from '../settings.js';

/** A session, or another credential, that has ended. Times are those of the database's clock, in milliseconds since the epoch. */
export interface EndedSession {
  /** Or `svc:<account>:<epoch>`, `key:<id>`. */
  readonly sessionId: string;
  readonly revokedAtMs: number;
  /** No access token of the session outlives this. */
  readonly tokensUntilMs: number;
  /** A key that works on, in another way. */
  readonly changed: boolean;
}

export interface EndedSessionRow {
  /** Null: a row without a session. */
  readonly id: string | null;
  readonly revoked_ms: number;
  readonly tokens_ms: number;
  readonly changed: boolean;
}

/** The columns of an {@link EndedSessionRow}, of {@link endedSince} as `s`. */
export const endedColumns = `s.id, (extract(epoch from s.ended_at) * 1000)::float8 as revoked_ms,
  (extract(epoch from s.until) * 1000)::float8 as tokens_ms, s.changed`;

/** What has ended since a time, an SQL expression; each table by its index. */
export const endedSince = (since: string) => `lateral (
    select id::text, revoked_at as ended_at, tokens_until as until, false as changed from sessions where revoked_at > ${since}
    union all
    select name, at, until, changed from ended_credentials where at > ${since}) s`;

export function endedSessions(rows: readonly EndedSessionRow[]): EndedSession[] {
  return rows.flatMap(({ id, revoked_ms: revokedAtMs, tokens_ms: tokensUntilMs, changed }) =>
    id === null ? [] : [{ sessionId: id, revokedAtMs, tokensUntilMs, changed }],
  );
}

/** Sessions that ended, possibly none, and the moment up to which all of them are known. */
export interface FeedMessage {
  readonly ended: readonly EndedSession[];
  readonly asOfMs: number;
}

const CHANNEL = 'sluice_revocations';
/** How often the database is asked besides its notifications; also how often watchers hear that nothing happened. */
const BEAT_MS = 1000;
const BEAT_TIMEOUT_MS = 3000;
const RECONNECT_MS = 500;
/** A revocation may commit this much later than the time that it bears. */
const COMMIT_LAG_MS = 10_000;
/** One that is notified has just committed; what bears an older time comes with the next beat. */
const WAKE_LAG_MS = 1000;
/** However many notify, the table is looked at no more often. */
const WAKE_SPACING_MS = 10;

/**
 * Tells of ended sessions, whichever replica ended them, as the table has them: it looks every second, and at once when it is notified.
 * A notification says nothing by itself, since any role of the database can send one; one that is lost costs a second.
 */
@Injectable()
export class RevocationFeed implements OnModuleInit, OnModuleDestroy {
  /** Nothing comes while the database cannot be reached; completes when the service stops. */
  readonly messages = new Subject<FeedMessage>();
  private client: pg.Client | undefined;
  private timer: NodeJS.Timeout | undefined;
  private waking: NodeJS.Timeout | undefined;
  private wokenAtMs = -Infinity;
  private stopped = false;
  private asOfMs = 0;
  /** What went out within the lag already. */
  private readonly recent = new Map<string, number>();

  constructor(
    @Inject(SETTINGS) private readonly settings: UserSettings,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  async onModuleInit(): Promise<void> {
    await this.connect();
  }

  async onModuleDestroy(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    clearTimeout(this.waking);
    this.messages.complete();
    await this.client?.end().catch(() => undefined);
  }

  private async connect(): Promise<void> {
    const address = parseAddress(this.settings.USER_DATABASE_URL) as DatabaseAddress;
    const client = new (clientClass(address))({
      connectionString: address.url,
      application_name: 'sluice-user-revocations',
      connectionTimeoutMillis: BEAT_TIMEOUT_MS,
      query_timeout: BEAT_TIMEOUT_MS,
      keepAlive: true,
      options: '-c search_path=identity,public',
    });
    // A broken connection is noticed by the next beat.
    client.on('error', () => undefined);
    client.on('notification', () => this.notified());
    try {
      await client.connect();
      await client.query(`listen ${CHANNEL}`);
      this.client = client;
      await this.beat();
    } catch (error) {
      this.logger.warn({ err: error }, 'revocations cannot be heard');
      await this.reconnectLater(client);
    }
  }

  private async reconnectLater(broken: pg.Client): Promise<void> {
    this.client = undefined;
    void broken.end().catch(() => undefined);
    if (!this.stopped) this.timer = setTimeout(() => void this.connect(), RECONNECT_MS).unref();
  }

  private notified(): void {
    const waitMs = this.wokenAtMs + WAKE_SPACING_MS - performance.now();
    this.waking ??= setTimeout(() => void this.wake(), Math.max(0, waitMs)).unref();
  }

  private async wake(): Promise<void> {
    this.waking = undefined;
    this.wokenAtMs = performance.now();
    if (!this.client || this.stopped) return;
    try {
      const { ended } = await this.read(this.client, undefined, WAKE_LAG_MS);
      const fresh = this.freshOf(ended);
      if (fresh.length > 0) this.send(fresh);
    } catch {
      // The next beat meets the same.
    }
  }

  private async beat(): Promise<void> {
    const { client } = this;
    if (!client || this.stopped) return;
    try {
      const { ended, nowMs } = await this.read(client, this.asOfMs === 0 ? undefined : this.asOfMs, COMMIT_LAG_MS);
      this.asOfMs = nowMs;
      // Also when nothing is new: whoever hears nothing takes the stream for lost.
      this.send(this.freshOf(ended));
      this.forget();
      if (!this.stopped) this.timer = setTimeout(() => void this.beat(), BEAT_MS).unref();
    } catch (error) {
      this.logger.warn({ err: error }, 'the connection that hears revocations broke');
      await this.reconnectLater(client);
    }
  }

  /** What has ended since `lagMs` before `untilMs`, or before now. */
  private async read(client: pg.Client, untilMs: number | undefined, lagMs: number) {
    const { rows } = await client.query<EndedSessionRow & { now_ms: number }>(
      `select (extract(epoch from clock.now) * 1000)::float8 as now_ms, ${endedColumns}
       from (select clock_timestamp() as now) clock
       left join ${endedSince("coalesce(to_timestamp($1::float8 / 1000), clock.now) - $2 * interval '1 millisecond'")} on true`,
      [untilMs, lagMs],
    );
    return { ended: endedSessions(rows), nowMs: rows[0]?.now_ms ?? this.asOfMs };
  }

  private freshOf(ended: readonly EndedSession[]): readonly EndedSession[] {
    const fresh = ended.filter((one) => !this.recent.has(nameOf(one)));
    for (const one of fresh) this.recent.set(nameOf(one), one.revokedAtMs);
    return fresh;
  }

  private send(ended: readonly EndedSession[]): void {
    if (!this.stopped) this.messages.next({ ended, asOfMs: this.asOfMs });
  }

  private forget(): void {
    for (const [name, revokedAtMs] of this.recent) {
      if (revokedAtMs < this.asOfMs - 2 * COMMIT_LAG_MS) this.recent.delete(name);
    }
  }
}

/** A session ends once; a key changes again and again. */
const nameOf = ({ sessionId, revokedAtMs }: EndedSession) => `${sessionId} ${revokedAtMs}`;
