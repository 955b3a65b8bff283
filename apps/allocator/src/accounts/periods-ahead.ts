import { Inject, Injectable, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { LOGGER } from '@sluice/service';
import type { Logger } from '@sluice/telemetry';
import { DataSource } from 'typeorm';

const INTERVAL_MS = 10_000;
/** Rows in one transaction, so that no batch waits long for it, and transactions at a time. */
const ROWS = 500;
const ROUNDS = 20;
/** How long before it begins a period may get its rows; of hours, a tenth. */
const AHEAD = `case when l.period = 2 then interval '6 minutes' else interval '15 minutes' end`;

/**
 * Makes the rows of the next hour, day, week or month before it begins, for limits that are used in this one: otherwise the first
 * allocation of each would make them, and at midnight all of them at once.
 */
@Injectable()
export class PeriodsAhead implements OnModuleInit, OnApplicationShutdown {
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> = Promise.resolve();
  private busy = false;

  constructor(
    @Inject(DataSource) private readonly dataSource: DataSource,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  onModuleInit(): void {
    this.timer = setInterval(() => {
      if (this.busy) return;
      this.busy = true;
      this.running = this.run()
        .catch((error: unknown) => this.logger.warn({ err: error }, 'periods could not be made ahead'))
        .finally(() => {
          this.busy = false;
        });
    }, INTERVAL_MS);
  }

  async onApplicationShutdown(): Promise<void> {
    clearInterval(this.timer);
    await this.running;
  }

  async run(): Promise<void> {
    for (let round = 0; round < ROUNDS; round++) if ((await this.make()) < ROWS) return;
  }

  /** @returns how many rows were made */
  private make(): Promise<number> {
    return this.dataSource.transaction(async (manager) => {
      await manager.query(`set local lock_timeout = '2s'`);
      const [settings] = await manager.query<[{ accounted: boolean }]>('select accounted from settings');
      if (!settings.accounted) return 0;
      // As the batches do, who make rows as well.
      await manager.query('select from settings for no key update');
      const rows = await manager.query<unknown[]>(
        `insert into periods (row_id, limit_id, account_id, starts, ends, ceiling, soft, hard, unit, extra, extra_until)
           select nextval('row_seq'), n.limit_id, n.account_id, n.starts, n.ends, n.amount, soft_mark(n.amount, n.soft_percent), n.hard, n.unit,
               n.extra, n.extra_until
             from (
               select l.*, w.starts, w.ends
                 from (select budget_clock() as at) now
                   join periods p on p.ends > now.at and p.ends <= now.at + interval '15 minutes' and p.starts <= now.at and p.used > 0
                   join limits l on l.limit_id = p.limit_id and l.period >= 2 and p.ends <= now.at + ${AHEAD}
                   cross join lateral period_bounds(l.period, l.zone, l.week_start, p.ends) w
                 where not exists (select from periods n where n.limit_id = l.limit_id and n.starts = w.starts)
                 limit ${ROWS}
             ) n
           returning row_id`,
      );
      return rows.length;
    });
  }
}
