import { Controller } from '@nestjs/common';
import { userV1 } from '@sluice/contract';
import { DataSource } from 'typeorm';
import { map, Observable } from 'rxjs';
import { invalid } from '../accounts/credentials.js';
import { UserMetrics } from '../metrics.js';
import {
  endedColumns,
  type EndedSessionRow,
  endedSessions,
  endedSince,
  type FeedMessage,
  RevocationFeed,
} from './revocation-feed.js';

/** How much longer than its tokens live a revocation is passed on: what was read may be signed a little later, and clocks differ. */
const SLACK_MS = 60_000;
/** A revocation may commit this much later than the time that it bears. */
const OVERLAP_MS = 30_000;

@Controller()
@userV1.RevocationServiceControllerMethods()
export class RevocationController implements userV1.RevocationServiceController {
  constructor(
    private readonly dataSource: DataSource,
    private readonly feed: RevocationFeed,
    private readonly metrics: UserMetrics,
  ) {}

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
    }).pipe(map(batchOf));
  }

  private async catchUp(sinceMs: number): Promise<FeedMessage> {
    const rows = await this.dataSource.query<(EndedSessionRow & { now_ms: number })[]>(
      `select ${endedColumns}, (extract(epoch from clock.now) * 1000)::float8 as now_ms
       from (select clock_timestamp() as now) clock
       left join ${endedSince('to_timestamp($1::float8 / 1000)')} on s.until > clock.now - $2 * interval '1 millisecond'`,
      [sinceMs - OVERLAP_MS, SLACK_MS],
    );
    return { ended: endedSessions(rows), asOfMs: rows[0]?.now_ms ?? 0 };
  }
}

function batchOf({ ended, asOfMs }: FeedMessage): userV1.RevocationBatch {
  return {
    revocations: ended.map(({ sessionId, tokensUntilMs, changed }) => ({
      session_id: sessionId,
      until_ms: String(Math.ceil(tokensUntilMs + SLACK_MS)),
      changed,
    })),
    cursor: String(Math.floor(asOfMs)),
  };
}
