import { isDeepStrictEqual } from 'node:util';
import { Inject, Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { Problem } from '@sluice/problem';
import { LOGGER } from '@sluice/service';
import type { Logger } from '@sluice/telemetry';
import { Observable, Subject } from 'rxjs';
import { SETTINGS, type AllocatorSettings } from '../settings.js';
import { Nodes, type UsageRecord } from './nodes.js';

const WATCHERS_MAX = 1000;

/** Usage as it changes. However many watch, one query at a time asks Postgres, and none when nobody does. */
@Injectable()
export class UsageWatch implements OnApplicationShutdown {
  private readonly changes = new Subject<UsageRecord>();
  private watchers = 0;
  private last: UsageRecord | undefined;
  private timer: NodeJS.Timeout | undefined;
  private asking = false;

  constructor(
    private readonly nodes: Nodes,
    @Inject(SETTINGS) private readonly settings: AllocatorSettings,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** Emits now, and whenever usage has changed. */
  watch(): Observable<UsageRecord> {
    return new Observable((subscriber) => {
      if (this.watchers >= WATCHERS_MAX) {
        subscriber.error(
          new Problem('OVERLOADED', 'Too many callers watch usage.', { details: { retry_after_ms: 1000 } }),
        );
        return undefined;
      }
      this.watchers++;
      this.timer ??= setInterval(() => void this.ask(), this.settings.USAGE_INTERVAL_MS);
      const subscription = this.changes.subscribe(subscriber);
      if (this.last) subscriber.next(this.last);
      else void this.ask();
      return () => {
        subscription.unsubscribe();
        this.watchers--;
        if (this.watchers === 0) this.rest();
      };
    });
  }

  onApplicationShutdown(): void {
    this.rest();
    this.changes.complete();
  }

  private rest(): void {
    clearInterval(this.timer);
    this.timer = undefined;
    this.last = undefined;
  }

  private async ask(): Promise<void> {
    if (this.asking) return;
    this.asking = true;
    try {
      const usage = await this.nodes.usage();
      if (this.watchers > 0 && !isDeepStrictEqual(usage, this.last)) {
        this.last = usage;
        this.changes.next(usage);
      }
    } catch (error) {
      this.logger.warn({ err: error }, 'usage could not be read for those who watch it');
    } finally {
      this.asking = false;
    }
  }
}
