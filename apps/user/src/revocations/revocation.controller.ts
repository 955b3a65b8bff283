import { Controller, Inject } from '@nestjs/common';
import { userV1 } from '@sluice/contract';
import { DataSource } from 'typeorm';
import { map, Observable } from 'rxjs';
import { invalid } from '../accounts/credentials.js';
import { UserMetrics } from '../metrics.js';
import { SETTINGS, type UserSettings } from '../settings.js';
import { type FeedMessage, RevocationFeed } from './revocation-feed.js';

/** How much longer than its tokens live a revocation is passed on: a rotation that was under way may sign a little later. */
const SLACK_MS = 60_000;
/** A revocation may commit this much later than the time that it bears. */
const OVERLAP_MS = 30_000;

@Controller()
@userV1.RevocationServiceControllerMethods()
export class RevocationController implements userV1.RevocationServiceController {
  private readonly tokenLifeMs: number;

  constructor(
    private readonly dataSource: DataSource,
    private readonly feed: RevocationFeed,
    private readonly metrics: UserMetrics,
    @Inject(SETTINGS) settings: UserSettings,
  ) {
    this.tokenLifeMs = settings.ACCESS_TOKEN_SECONDS * 1000 + SLACK_MS;
  }

  /** What ended since the cursor, then what ends; nothing between the two is missed, since the feed is heard first. */
  watchRevocations(request: userV1.WatchRevocationsRequest): Observable<userV1.RevocationBatch> {
    const sinceMs = Number(request.cursor || '0');
    if (!Number.isFinite(sinceMs) || sinceMs < 0) throw invalid('cursor', 'must be one of this service');
    return new Observable<FeedMessage>((watcher) => {
      let held: FeedMessage[] | undefined = [];
      const hearing = this.feed.messages.subscribe({
        next: (message) => (held ? held.push(message) : watcher.next(message)),
        complete: () => watcher.complete(),
      });
      this.catchUp(sinceMs).then(
        (missed) => {
          for (const message of [missed, ...(held ?? [])]) watcher.next(message);
          held = undefined;
        },
        (error: unknown) => watcher.error(error),
      );
      this.metrics.watchers.inc();
      return () => {
        hearing.unsubscribe();
        this.metrics.watchers.dec();
      };
    }).pipe(map((message) => this.batchOf(message)));
  }

  private async catchUp(sinceMs: number): Promise<FeedMessage> {
    const rows = await this.dataSource.query<{ id: string | null; revoked_ms: number; now_ms: number }[]>(
      `select s.id, (extract(epoch from s.revoked_at) * 1000)::float8 as revoked_ms,
         (extract(epoch from clock.now) * 1000)::float8 as now_ms
       from (select clock_timestamp() as now) clock
       left join sessions s on s.revoked_at > greatest(
         to_timestamp($1::float8 / 1000), clock_timestamp() - $2 * interval '1 millisecond')`,
      [sinceMs - OVERLAP_MS, this.tokenLifeMs],
    );
    return {
      ended: rows.flatMap(({ id, revoked_ms }) => (id ? [{ sessionId: id, revokedAtMs: revoked_ms }] : [])),
      asOfMs: rows[0]?.now_ms ?? 0,
    };
  }

  private batchOf({ ended, asOfMs }: FeedMessage): userV1.RevocationBatch {
    return {
      revocations: ended.map(({ sessionId, revokedAtMs }) => ({
        session_id: sessionId,
        until_ms: String(Math.ceil(revokedAtMs + this.tokenLifeMs)),
      })),
      cursor: String(Math.floor(asOfMs)),
    };
  }
}
