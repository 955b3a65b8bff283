/**
 * Moves the clock of a process: loaded with `--import`, it adds CLOCK_SHIFT_MS to `Date`, and on SIGUSR2 takes it away again, as when
 * somebody sets the machine's clock right. Written in JavaScript, since it runs before anything could compile it.
 */
export const movedClock = `data:text/javascript,${encodeURIComponent(`
  const RealDate = Date;
  let shift = Number(process.env.CLOCK_SHIFT_MS);
  process.on('SIGUSR2', () => { shift = 0; });
  globalThis.Date = class extends RealDate {
    constructor(...parts) {
      if (parts.length === 0) super(RealDate.now() + shift);
      else super(...parts);
    }
    static now() {
      return RealDate.now() + shift;
    }
  };
`)}`;

/** A moment of today in a POSIX time zone. */
type Change = 'spring forward' | 'fall back';

/**
 * A time zone (in POSIX form: https://www.postgresql.org/docs/current/datetime-posix-timezone-specs.html) whose clock changes at
 * the given moment, one hour forward or back: the only way to have the change of the year at hand in a real Postgres.
 *
 * @param at milliseconds since the epoch
 */
export function zoneThatChangesAt(at: number, change: Change): string {
  // Standard time is UTC + 1, summer time UTC + 2. A rule names the moment in the time that it ends.
  const forward = rule(at + 3_600_000);
  const back = rule(at + 2 * 3_600_000);
  const halfYear = (moment: number) => rule(moment + 180 * 86_400_000);
  return change === 'spring forward'
    ? `STD-1DST,${forward},${halfYear(at + 2 * 3_600_000)}`
    : `STD-1DST,${halfYear(at + 3_600_000)},${back}`;
}

/** `n/hh:mm:ss`: a day of the year, 0 the first, and a time. */
function rule(local: number): string {
  const date = new Date(local);
  const day = Math.floor((local - Date.UTC(date.getUTCFullYear(), 0, 1)) / 86_400_000);
  return `${day}/${date.toISOString().slice(11, 19)}`;
}
