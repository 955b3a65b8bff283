import { Inject, Injectable, type OnModuleDestroy } from '@nestjs/common';
import { LOGGER } from '@sluice/service';
import type { Logger } from '@sluice/telemetry';

/** Records that wait at most; the oldest give way. */
const WAITING_MAX = 1000;
const RETRY_MS = 1000;
/** What could not be written for so long never can. */
const KEPT_MS = 3_600_000;

interface LateRecord {
  readonly sinceMs: number;
  write(): Promise<void>;
}

/**
 * Writes down afterwards what could not be when it happened, because the database did not answer: an attempt that failed is an
 * attempt. Kept in memory, so what waits when the process ends is lost.
 */
@Injectable()
export class LateRecords implements OnModuleDestroy {
  private readonly waiting: LateRecord[] = [];
  private writing = false;
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;

  constructor(@Inject(LOGGER) private readonly logger: Logger) {}

  /** @param write called until it succeeds; must carry the time of what it records */
  add(write: () => Promise<void>): void {
    if (this.waiting.length >= WAITING_MAX) {
      this.waiting.shift();
      this.logger.error('a record of a failed attempt is lost: too many wait for the database');
    }
    this.waiting.push({ sinceMs: Date.now(), write });
    if (!this.timer) void this.writeAll();
  }

  onModuleDestroy(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    if (this.waiting.length > 0)
      this.logger.error({ records: this.waiting.length }, 'records of failed attempts are lost');
  }

  private async writeAll(): Promise<void> {
    if (this.writing) return;
    this.writing = true;
    this.timer = undefined;
    for (let next = this.waiting[0]; next && !this.stopped; next = this.waiting[0]) {
      try {
        await next.write();
      } catch (error) {
        if (Date.now() - next.sinceMs < KEPT_MS) {
          this.timer = setTimeout(() => void this.writeAll(), RETRY_MS).unref();
          break;
        }
        this.logger.error({ err: error }, 'a record of a failed attempt is lost');
      }
      // It may have given way to newer ones meanwhile.
      if (this.waiting[0] === next) this.waiting.shift();
    }
    this.writing = false;
  }
}
