import { Inject, Injectable, type OnModuleDestroy } from '@nestjs/common';
import { LOGGER } from '@sluice/service';
import { isConnectionFailure } from '@sluice/storage';
import { Counter, type Logger, METRICS, type Registry } from '@sluice/telemetry';

/** Records that wait at most; the oldest give way. */
const WAITING_MAX = 1000;
const RETRY_MS = 1000;
/** What could not be written for so long never can. */
const KEPT_MS = 3_600_000;

/** Postgres: the values of the record are wrong (classes 21, 22 and 23 of SQLSTATE), now and the next time. */
const UNWRITABLE = /^2[123]...$/;

/** Why a record is lost. */
type Loss = 'unwritable' | 'too-many' | 'too-old' | 'stopped';

interface LateRecord {
  readonly sinceMs: number;
  write(): Promise<void>;
}

/**
 * Writes down afterwards what could not be when it happened, because the database did not answer: an attempt that failed is an
 * attempt. Kept in memory, so what waits when the process ends is lost. A record that can never be written is dropped and counted, and
 * one that fails for a reason of its own lets the others pass.
 */
@Injectable()
export class LateRecords implements OnModuleDestroy {
  private waiting: LateRecord[] = [];
  private writing = false;
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;
  private readonly lost: Counter<'reason'>;

  constructor(
    @Inject(LOGGER) private readonly logger: Logger,
    @Inject(METRICS) metrics: Registry,
  ) {
    this.lost = new Counter({
      name: 'sluice_late_records_lost_total',
      help: 'Records of failed attempts that were never written, by why',
      labelNames: ['reason'],
      registers: [metrics],
    });
  }

  /** @param write called until it succeeds; must carry the time of what it records */
  add(write: () => Promise<void>): void {
    if (this.waiting.length >= WAITING_MAX) {
      this.waiting.shift();
      this.lose('too-many');
    }
    this.waiting.push({ sinceMs: Date.now(), write });
    if (!this.timer) void this.writeAll();
  }

  onModuleDestroy(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    if (this.waiting.length > 0) this.lose('stopped', undefined, this.waiting.length);
  }

  /** One pass over what waits: each is tried once, until the database cannot be reached. */
  private async writeAll(): Promise<void> {
    if (this.writing) return;
    this.writing = true;
    this.timer = undefined;
    const failed: LateRecord[] = [];
    for (let next = this.waiting.shift(); next && !this.stopped; next = this.waiting.shift()) {
      const end = await this.write(next);
      if (end !== 'written') failed.push(next);
      if (end === 'unreachable') break;
    }
    this.waiting = [...failed, ...this.waiting].slice(-WAITING_MAX);
    if (this.waiting.length > 0 && !this.stopped) {
      this.timer = setTimeout(() => void this.writeAll(), RETRY_MS).unref();
    }
    this.writing = false;
  }

  /** A record that is lost counts as written: nothing is left to do. */
  private async write(record: LateRecord): Promise<'written' | 'failed' | 'unreachable'> {
    try {
      await record.write();
      return 'written';
    } catch (error) {
      const unwritable = UNWRITABLE.test(String((error as { code?: unknown }).code));
      if (!unwritable && Date.now() - record.sinceMs < KEPT_MS) {
        return isConnectionFailure(error) ? 'unreachable' : 'failed';
      }
      this.lose(unwritable ? 'unwritable' : 'too-old', error);
      return 'written';
    }
  }

  private lose(reason: Loss, error?: unknown, records = 1): void {
    this.lost.inc({ reason }, records);
    this.logger.error({ reason, records, err: error }, 'records of failed attempts are lost');
  }
}
