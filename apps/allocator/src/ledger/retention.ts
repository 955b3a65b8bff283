import { Inject, Injectable, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { LOGGER } from '@sluice/service';
import { takeLock, tryLock } from '@sluice/storage';
import type { Logger } from '@sluice/telemetry';
import { DataSource, type EntityManager } from 'typeorm';
import { SETTINGS, type AllocatorSettings } from '../settings.js';

const INTERVAL_MS = 60_000;
/** Deletions in one transaction that are few, and that are many. */
const FEW = 500;
const MANY = 5000;
const SLICE_SECONDS_MAX = 3600;
const MONTHS_AHEAD = 2;
/** One replica at a time looks after the history. */
const RETENTION_LOCK = 'retention';

/**
 * Keeps the history at the length that the settings say:
 * - A freed or expired allocation is deleted ALLOCATION_HISTORY_HOURS after it ended; then its request id can be used anew.
 *   Live ones, settled ones included, are kept however old. The ledger, which is in order of time, says which have ended, so
 *   the allocations need no index by time.
 * - The ledger has a partition for each month, made ahead. A month older than LEDGER_MONTHS is dropped whole, after what it
 *   adds up to for everything that is still live was carried forward into `ledger_opening`. It is kept for longer where the
 *   history is: the entries tell which allocations have ended.
 */
@Injectable()
export class Retention implements OnModuleInit, OnApplicationShutdown {
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> = Promise.resolve();
  private stopping = false;
  /** Seconds of history that one transaction prunes; follows how much there is to delete. */
  private sliceSeconds = 60;

  constructor(
    @Inject(DataSource) private readonly dataSource: DataSource,
    @Inject(SETTINGS) private readonly settings: AllocatorSettings,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  async onModuleInit(): Promise<void> {
    await this.dataSource.transaction((manager) => this.makeMonths(manager));
    this.timer = setInterval(() => {
      this.running = this.running
        .then(() => this.run())
        .catch((error: unknown) => {
          this.logger.warn({ err: error }, 'the history could not be pruned');
        });
    }, INTERVAL_MS);
  }

  async onApplicationShutdown(): Promise<void> {
    this.stopping = true;
    clearInterval(this.timer);
    await this.running;
  }

  /** Prunes whatever is due. */
  async run(): Promise<void> {
    await this.dataSource.transaction((manager) => this.makeMonths(manager));
    while (!this.stopping && (await this.dataSource.transaction((manager) => this.pruneSlice(manager))));
    while (!this.stopping && (await this.dataSource.transaction((manager) => this.dropMonth(manager))));
    await this.dataSource.transaction((manager) => this.pruneRest(manager));
  }

  private async makeMonths(manager: EntityManager): Promise<void> {
    await manager.query(`set local lock_timeout = '2s'`);
    await takeLock(manager, RETENTION_LOCK);
    const months = await manager.query<{ name: string; first: string; next: string }[]>(
      `select to_char(m, '"ledger_"YYYY_MM') as name, m::date::text as first, (m + interval '1 month')::date::text as next
         from generate_series(date_trunc('month', clock_timestamp() at time zone 'UTC'),
                              clock_timestamp() at time zone 'UTC' + make_interval(months => $1), interval '1 month') m
         where to_regclass(to_char(m, '"ledger_"YYYY_MM')) is null`,
      [MONTHS_AHEAD],
    );
    for (const { name, first, next } of months) {
      const range = `from ('${first} 00:00:00Z') to ('${next} 00:00:00Z')`;
      await manager.query(`create table ${name} (like ledger)`);
      // What was written while there was no such month.
      await manager.query(
        `with moved as (delete from ledger_default where at >= '${first} 00:00:00Z' and at < '${next} 00:00:00Z' returning *)
           insert into ${name} select * from moved`,
      );
      await manager.query(`alter table ledger attach partition ${name} for values ${range}`);
    }
  }

  /** Whether one was dropped. */
  private async dropMonth(manager: EntityManager): Promise<boolean> {
    if (!(await tryLock(manager, RETENTION_LOCK))) return false;
    await manager.query(`set local lock_timeout = '2s'`);
    const [month] = await manager.query<{ name: string }[]>(
      `select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
         where i.inhparent = 'ledger'::regclass and c.relname ~ '^ledger_\\d{4}_\\d{2}$'
           and c.relname < to_char(clock_timestamp() at time zone 'UTC' - make_interval(months => $1), '"ledger_"YYYY_MM')
           and c.relname < to_char((select pruned_until from settings) at time zone 'UTC', '"ledger_"YYYY_MM')
         order by c.relname limit 1`,
      [this.settings.LEDGER_MONTHS],
    );
    if (!month) return false;
    await manager.query(
      `create temporary table carried on commit drop as
         select node_id, tenant, request_id, set_id, sum(delta)::bigint as delta, sum(capacity_delta)::bigint as capacity_delta,
             sum(cost_delta)::bigint as cost_delta, sum(requests)::bigint as requests
           from (select node_id, tenant, request_id, set_id, delta, capacity_delta, cost_delta, requests from ledger_opening
                 union all
                 select node_id, tenant, request_id, set_id, delta, capacity_delta, cost_delta,
                   case when kind = 1 then 1 when kind in (4, 5) then -1 else 0 end from ${month.name}) e
           group by node_id, tenant, request_id, set_id
           having sum(delta) <> 0 or sum(capacity_delta) <> 0 or sum(cost_delta) <> 0`,
    );
    await manager.query('delete from ledger_opening');
    await manager.query(
      `insert into ledger_opening (node_id, tenant, request_id, set_id, delta, capacity_delta, cost_delta, requests)
         select node_id, tenant, request_id, set_id, delta, capacity_delta, cost_delta, requests from carried`,
    );
    await manager.query(`drop table ${month.name}`);
    this.logger.info({ month: month.name }, 'a month of the ledger was carried forward');
    return true;
  }

  /** Reasons that are as old as the dropped months, and callers who hold nothing. */
  private async pruneRest(manager: EntityManager): Promise<void> {
    if (!(await tryLock(manager, RETENTION_LOCK))) return;
    await manager.query(`set local lock_timeout = '2s'`);
    await manager.query(
      `delete from ledger_reasons where at < date_trunc('month', clock_timestamp() at time zone 'UTC') at time zone 'UTC'
         - make_interval(months => $1)`,
      [this.settings.LEDGER_MONTHS],
    );
    // As the batches do, who change these rows.
    await manager.query('select from settings for no key update');
    await manager.query('delete from callers where tokens = 0 and requests = 0');
  }

  /** Whether more may be due. */
  private async pruneSlice(manager: EntityManager): Promise<boolean> {
    if (!(await tryLock(manager, RETENTION_LOCK))) return false;
    const [slice] = await manager.query<{ from: string; until: string; due: boolean; last: boolean }[]>(
      `select pruned_until::text as from, least(pruned_until + make_interval(secs => $1), cutoff)::text as until,
          pruned_until < cutoff as due, pruned_until + make_interval(secs => $1) >= cutoff as last
         from settings, (select clock_timestamp() - make_interval(hours => $2) as cutoff) c`,
      [this.sliceSeconds, this.settings.ALLOCATION_HISTORY_HOURS],
    );
    if (!slice?.due) return false;
    const [, deleted] = await manager.query<[unknown, number]>(
      `delete from allocations a
         using (select tenant, request_id from ledger where kind in (4, 5) and at > $1 and at <= $2) ended
         where allocation_key(a.tenant, a.request_id) = allocation_key(ended.tenant, ended.request_id)
           and a.state in (3, 4) and a.update_time <= $2`,
      [slice.from, slice.until],
    );
    await manager.query('update settings set pruned_until = $1', [slice.until]);
    if (deleted < FEW) this.sliceSeconds = Math.min(this.sliceSeconds * 2, SLICE_SECONDS_MAX);
    if (deleted > MANY) this.sliceSeconds = Math.max(this.sliceSeconds / 2, 1);
    return !slice.last;
  }
}
