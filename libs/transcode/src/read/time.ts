/** Seconds and nanoseconds of `google.protobuf.Timestamp` and `Duration`. */
export interface Time {
  seconds: number;
  nanos: number;
}

const timestamp = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?(?:Z|([+-])(\d{2}):(\d{2}))$/;
const duration = /^(-?)(\d{1,12})(?:\.(\d{1,9}))?s$/;

/** 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z */
export const timestampSecondsMin = -62135596800;
export const timestampSecondsMax = 253402300799;
/** About 10 000 years. */
export const durationSecondsMax = 315576000000;

/** An RFC 3339 time with any offset and up to nine digits of fraction, from year 1 to 9999; else `undefined`. */
export function parseTimestamp(text: string): Time | undefined {
  const match = timestamp.exec(text);
  if (!match) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const offsetHours = Number(match[9] ?? 0);
  const offsetMinutes = Number(match[10] ?? 0);
  if (month < 1 || month > 12 || day < 1 || day > daysInMonth(year, month)) return undefined;
  if (hour > 23 || minute > 59 || second > 59 || offsetHours > 23 || offsetMinutes > 59) return undefined;
  const offset = (offsetHours * 60 + offsetMinutes) * (match[8] === '-' ? -60 : 60);
  const seconds = daysSinceEpoch(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset;
  if (seconds < timestampSecondsMin || seconds > timestampSecondsMax) return undefined;
  return { seconds, nanos: nanosOf(match[7]) };
}

/** `-1.5s`: seconds with up to nine digits of fraction; else `undefined`. */
export function parseDuration(text: string): Time | undefined {
  const match = duration.exec(text);
  if (!match) return undefined;
  const seconds = Number(match[2]);
  if (seconds > durationSecondsMax) return undefined;
  const nanos = nanosOf(match[3]);
  return match[1] === '-' ? { seconds: 0 - seconds, nanos: 0 - nanos } : { seconds, nanos };
}

function nanosOf(fraction: string | undefined): number {
  return fraction === undefined ? 0 : Number(fraction.padEnd(9, '0'));
}

function daysInMonth(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

/** Days from 1970-01-01 in the proleptic Gregorian calendar, counting years from March. */
function daysSinceEpoch(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146097 + dayOfEra - 719468;
}
