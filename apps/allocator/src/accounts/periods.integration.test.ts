import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BudgetDatabase, startBudgetDatabase } from '../batch/budget-database.fixture.js';
import { periods, weekdays } from './units.js';

let database: BudgetDatabase;
beforeAll(async () => {
  database = await startBudgetDatabase({ nodes: { a: 1 } });
});
afterAll(() => database?.stop());

const ZONES = [
  'UTC',
  'Europe/Berlin',
  'America/New_York',
  'Asia/Kathmandu',
  // Half-hour changes, a day that never was, midnights that never were, and midnights that come twice.
  'Australia/Lord_Howe',
  'Pacific/Apia',
  'America/Sao_Paulo',
  'America/Havana',
  'Africa/Casablanca',
  'Asia/Amman',
];

describe('the bounds of a period', () => {
  it.each(ZONES)('follow one another without gap or overlap in %s, whatever the clocks do', async (zone) => {
    // Every instant around each change of the clocks from 2008 on, and others at random.
    const { rows } = await database.pool.query<{ period: number; wrong: number; n: number; example: Date | null }>(
      `with t as (
         select timestamptz '2008-01-01 00:00Z' + (i * 7919 % 613607) * interval '17 minutes' as at from generate_series(1, 800) i
         union all
         select c.at + j * interval '11 minutes' from (
           select at from (
             select h as at, h at time zone $1 - lag(h) over (order by h) at time zone $1 as step
               from generate_series(timestamptz '2010-01-01 00:00Z', timestamptz '2028-01-01 00:00Z', interval '3 hours') h) s
             where step <> interval '3 hours') c
           cross join generate_series(-200, 200, 19) j
       ), x as (
         select p as period, at, b.starts, b.ends, n.starts as next_starts, l.starts as last_starts, l.ends as last_ends
           from t cross join generate_series(1, 5) p
             cross join lateral period_bounds(p, $1, 1, at) b
             cross join lateral period_bounds(p, $1, 1, b.ends) n
             cross join lateral period_bounds(p, $1, 1, b.ends - interval '1 microsecond') l
       )
       select period, count(*)::int as n,
           count(*) filter (where not (starts <= at and at < ends) or next_starts <> ends or last_starts <> starts or last_ends <> ends)::int as wrong,
           min(at) filter (where not (starts <= at and at < ends) or next_starts <> ends or last_starts <> starts or last_ends <> ends) as example
         from x group by period order by period`,
      [zone],
    );
    expect(rows).toEqual(rows.map(({ period, n }) => ({ period, n, wrong: 0, example: null })));
    expect(rows).toHaveLength(5);
  });

  const bounds = async (period: (typeof periods)[number], zone: string, at: string, weekStart = 1) => {
    const { rows } = await database.pool.query<{ starts: Date; ends: Date }>(
      'select * from period_bounds($1, $2, $3, $4)',
      [periods.indexOf(period), zone, weekStart, at],
    );
    return [rows[0]?.starts.toISOString(), rows[0]?.ends.toISOString()];
  };

  it.each([
    ['2027-02-15', 28],
    ['2028-02-15', 29],
    ['2026-04-15', 30],
    ['2026-12-15', 31],
  ])('of the month of %s are %i days apart', async (at, days) => {
    const [starts, ends] = await bounds('month', 'Asia/Kathmandu', `${at}T12:00:00Z`);
    expect((Date.parse(ends as string) - Date.parse(starts as string)) / 86_400_000).toBe(days);
  });

  it('of days in which the clocks change are 23 and 25 hours apart, and hours are those of UTC', async () => {
    expect(await bounds('day', 'Europe/Berlin', '2026-03-29T12:00:00Z')).toEqual([
      '2026-03-28T23:00:00.000Z',
      '2026-03-29T22:00:00.000Z',
    ]);
    expect(await bounds('day', 'Europe/Berlin', '2026-10-25T12:00:00Z')).toEqual([
      '2026-10-24T22:00:00.000Z',
      '2026-10-25T23:00:00.000Z',
    ]);
    expect(await bounds('hour', 'Australia/Lord_Howe', '2026-04-04T15:10:00Z')).toEqual([
      '2026-04-04T15:00:00.000Z',
      '2026-04-04T16:00:00.000Z',
    ]);
    // Midnight comes twice, and the day begins with the first.
    expect((await bounds('day', 'America/Havana', '2026-11-01T04:30:00Z'))[0]).toBe('2026-11-01T04:00:00.000Z');
  });

  it.each(weekdays.map((day, index) => [day, index + 1] as const))(
    'of a week begin on %s where that is said',
    async (_, iso) => {
      const [starts] = await bounds('week', 'UTC', '2026-12-02T12:00:00Z', iso);
      expect(new Date(starts as string).getUTCDay()).toBe(iso % 7);
      expect(Date.parse('2026-12-02T12:00:00Z') - Date.parse(starts as string)).toBeLessThan(7 * 86_400_000);
    },
  );
});
