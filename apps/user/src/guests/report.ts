import type { DataSource } from 'typeorm';

/** What became of some requests for guest tokens. */
export interface GuestCounts {
  readonly attempts: number;
  readonly issued: number;
  readonly returned: number;
  readonly refused: number;
  /** Came to no decision, because something was out of order here. */
  readonly failed: number;
  readonly devices: number;
}

/** All attempts with one cause. */
export interface GuestCauseSum extends GuestCounts {
  readonly cause: string;
  /** Part of all attempts, 0 to 1. */
  readonly share: number;
}

/** Attempts that followed one another closely, whatever their causes. */
export interface GuestBurst extends GuestCounts {
  readonly first: Date;
  readonly last: Date;
  /** Attempts by cause, the most frequent first. */
  readonly causes: Readonly<Record<string, number>>;
}

/** Attempts within one hour of UTC. */
export interface GuestHour extends GuestCounts {
  readonly hour: Date;
}

export interface GuestReport {
  readonly hours: number;
  readonly gap_seconds: number;
  readonly total: GuestCounts;
  /** The most frequent first. What clients call their causes is theirs, so that there may be many: beyond {@link CAUSES_MAX} they are one. */
  readonly by_cause: readonly GuestCauseSum[];
  /** The latest first. */
  readonly bursts: readonly GuestBurst[];
  /** The latest first; hours without an attempt are left out. */
  readonly by_hour: readonly GuestHour[];
}

/** Causes that are told apart. */
const CAUSES_MAX = 50;
/** What the causes beyond those are called; no client can call one so. */
const OTHERS = '(others)';

const COUNTS = `count(*)::int as attempts,
       count(*) filter (where outcome = 'issued')::int as issued,
       count(*) filter (where outcome = 'returned')::int as returned,
       count(*) filter (where outcome like 'refused:%')::int as refused,
       count(*) filter (where outcome like 'failed:%')::int as failed,
       count(distinct device)::int as devices`;

/** The attempts of the last $1 hours, rare causes under one name. */
const ATTEMPTS = `frequent as (
       select cause from guest_attempts where at > clock_timestamp() - $1 * interval '1 hour'
       group by cause order by count(*) desc, cause limit ${CAUSES_MAX}
     ), attempts as (
       select id, at, device, outcome, coalesce(f.cause, '${OTHERS}') as cause
       from guest_attempts a left join frequent f using (cause)
       where at > clock_timestamp() - $1 * interval '1 hour'
     )`;

/**
 * The requests for guest tokens: summed up, by cause, by burst and by hour.
 *
 * @param gapSeconds a longer silence ends a burst
 */
export async function guestReport(dataSource: DataSource, hours: number, gapSeconds: number): Promise<GuestReport> {
  const [total] = await dataSource.query<[GuestCounts]>(`with ${ATTEMPTS} select ${COUNTS} from attempts`, [hours]);
  const causes = await dataSource.query<(GuestCounts & { cause: string })[]>(
    `with ${ATTEMPTS} select cause, ${COUNTS} from attempts group by cause order by attempts desc, cause`,
    [hours],
  );
  const byHour = await dataSource.query<GuestHour[]>(
    `with ${ATTEMPTS} select date_trunc('hour', at, 'UTC') as hour, ${COUNTS}
     from attempts group by hour order by hour desc`,
    [hours],
  );
  return {
    hours,
    gap_seconds: gapSeconds,
    total,
    by_cause: causes.map((sum) => ({ ...sum, share: sum.attempts / total.attempts })),
    bursts: await guestBursts(dataSource, hours, gapSeconds),
    by_hour: byHour,
  };
}

function guestBursts(dataSource: DataSource, hours: number, gapSeconds: number): Promise<GuestBurst[]> {
  return dataSource.query<GuestBurst[]>(
    `with ${ATTEMPTS}, marked as (
       select *, case when at - lag(at) over w <= $2 * interval '1 second' then 0 else 1 end as begins
       from attempts window w as (order by at, id)
     ), grouped as (
       select *, sum(begins) over (order by at, id) as burst from marked
     ), counted as (
       select burst, min(at) as first, max(at) as last, ${COUNTS} from grouped group by burst
     ), split as (
       select burst, json_object_agg(cause, n order by n desc, cause) as causes
       from (select burst, cause, count(*)::int as n from grouped group by burst, cause) each group by burst
     )
     select first, last, attempts, issued, returned, refused, failed, devices, causes
     from counted join split using (burst) order by first desc`,
    [hours, gapSeconds],
  );
}
