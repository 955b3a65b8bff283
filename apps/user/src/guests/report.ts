import type { DataSource } from 'typeorm';

/** Attempts for guest tokens with one cause that followed one another closely. */
export interface GuestBurst {
  readonly cause: string;
  readonly first: Date;
  readonly last: Date;
  readonly attempts: number;
  readonly issued: number;
  readonly returned: number;
  readonly refused: number;
  /** Came to no decision, because something was out of order here. */
  readonly failed: number;
  readonly devices: number;
}

/**
 * Groups attempts by cause and by burst, the latest first.
 *
 * @param gapSeconds a longer silence of one cause ends its burst
 */
export function guestBursts(dataSource: DataSource, sinceHours: number, gapSeconds: number): Promise<GuestBurst[]> {
  return dataSource.query<GuestBurst[]>(
    `with marked as (
       select *, case when at - lag(at) over w <= $2 * interval '1 second' then 0 else 1 end as begins
       from guest_attempts where at > clock_timestamp() - $1 * interval '1 hour'
       window w as (partition by cause order by at, id)
     ), grouped as (
       select *, sum(begins) over (partition by cause order by at, id) as burst from marked
     )
     select cause, min(at) as first, max(at) as last, count(*)::int as attempts,
       count(*) filter (where outcome = 'issued')::int as issued,
       count(*) filter (where outcome = 'returned')::int as returned,
       count(*) filter (where outcome like 'refused:%')::int as refused,
       count(*) filter (where outcome like 'failed:%')::int as failed,
       count(distinct device)::int as devices
     from grouped group by cause, burst order by first desc, cause`,
    [sinceHours, gapSeconds],
  );
}
