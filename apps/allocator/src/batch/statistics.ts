import { Inject, Injectable, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { LOGGER } from '@sluice/service';
import type { Logger } from '@sluice/telemetry';
import { DataSource } from 'typeorm';

const INTERVAL_MS = 2000;
/** Rows that may come before the plans are looked at again. */
const FEW = 500;

/** What the batches join by; plans that were made while these were empty read them whole. */
const TABLES = ['accounts', 'limits', 'periods', 'charge_sets', 'leaf_current', 'allocations', 'leases'];

/**
 * Keeps the statistics of the tables up with their growth. The batches' plans are made once, on a fresh installation over empty tables,
 * and Postgres makes them again when a table is analyzed. It does so by itself a minute late at best, while a first touch of an account
 * costs nine times as much.
 */
@Injectable()
export class Statistics implements OnModuleInit, OnApplicationShutdown {
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
        .catch((error: unknown) => this.logger.warn({ err: error }, 'the statistics could not be brought up to date'))
        .finally(() => {
          this.busy = false;
        });
    }, INTERVAL_MS);
  }

  async onApplicationShutdown(): Promise<void> {
    clearInterval(this.timer);
    await this.running;
  }

  /** Analyzes the tables that have doubled since they were analyzed. */
  async run(): Promise<void> {
    const grown = await this.dataSource.query<{ name: string }[]>(
      `select s.relname as name from pg_stat_user_tables s join pg_class c on c.oid = s.relid
         where s.schemaname = current_schema() and s.relname = any ($1) and s.n_live_tup > $2 + 2 * greatest(c.reltuples, 0)`,
      [TABLES, FEW],
    );
    // Another replica that does the same at the same time is enough.
    for (const { name } of grown) await this.dataSource.query(`analyze (skip_locked) ${name}`);
  }
}
