/** Seconds and nanoseconds of `google.protobuf.Timestamp` and `Duration`. */
export interface Time {
  seconds: number;
  nanos: number;
}

const duration = /^(-?)(\d{1,12})(?:\.(\d{1,9}))?s$/;

/** 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z */
export const timestampSecondsMin = -62135596800;
export const timestampSecondsMax = 253402300799;
/** About 10 000 years. */
export const durationSecondsMax = 315576000000;

/** An RFC 3339 time with any offset and up to nine digits of fraction, from year 1 to 9999; else `undefined`. */
export function parseTimestamp(text: string): Time | undefined {
  const end = text.length;
  if (end < 20 || text[4] !== '-' || text[7] !== '-' || text[10] !== 'T' || text[13] !== ':' || text[16] !== ':') {
    return undefined;
  }
  const year = digits(text, 0, 4);
  const month = digits(text, 5, 7);
  const day = digits(text, 8, 10);
  const hour = digits(text, 11, 13);
  const minute = digits(text, 14, 16);
  const second = digits(text, 17, 19);
  const fraction = text[19] === '.' ? fractionEnd(text) : 19;
  const nanos = fraction === 19 ? 0 : digits(text, 20, fraction) * 10 ** (29 - fraction);
  const offset = offsetSeconds(text, fraction);
  // Every comparison with NaN is false, so a part that is not made of digits fails here.
  const isValid =
    month >= 1 &&
    month <= 12 &&
    day >= 1 &&
    day <= daysInMonth(year, month) &&
    hour <= 23 &&
    minute <= 59 &&
    second <= 59;
  if (!isValid || !(nanos <= 999_999_999)) return undefined;
  const seconds = daysSinceEpoch(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset;
  return seconds >= timestampSecondsMin && seconds <= timestampSecondsMax ? { seconds, nanos } : undefined;
}

/** Index after a fraction of one to nine digits that begins at 19. */
function fractionEnd(text: string): number {
  let end = 20;
  while (end < 29 && text.charCodeAt(end) >= 0x30 && text.charCodeAt(end) <= 0x39) end++;
  return end;
}

/** `Z` or `+01:30` from `start` to the end, as seconds east of UTC; else NaN. */
function offsetSeconds(text: string, start: number): number {
  if (text[start] === 'Z') return text.length === start + 1 ? 0 : NaN;
  const sign = text[start] === '+' ? 60 : text[start] === '-' ? -60 : NaN;
  if (text.length !== start + 6 || text[start + 3] !== ':') return NaN;
  const hours = digits(text, start + 1, start + 3);
  const minutes = digits(text, start + 4, start + 6);
  return hours <= 23 && minutes <= 59 ? (hours * 60 + minutes) * sign : NaN;
}

/** The number that the digits between two indexes spell; NaN when there is something else, or nothing. */
function digits(text: string, start: number, end: number): number {
  let value = start < end ? 0 : NaN;
  for (let i = start; i < end; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    value = digit >= 0 && digit <= 9 ? value * 10 + digit : NaN;
  }
  return value;
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

/** `2026-11-22T19:40:00` for seconds in the range of Timestamp. */
export function formatSeconds(seconds: number): string {
  const day = Math.floor(seconds / 86400);
  const second = seconds - day * 86400;
  // Days to a date, counting years from March: the reverse of `daysSinceEpoch`.
  const z = day + 719468;
  const era = Math.floor(z / 146097);
  const dayOfEra = z - era * 146097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36524) - Math.floor(dayOfEra / 146096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const fromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const dayOfMonth = dayOfYear - Math.floor((153 * fromMarch + 2) / 5) + 1;
  const date = `${two(Math.floor(year / 100))}${two(year % 100)}-${two(month)}-${two(dayOfMonth)}`;
  return `${date}T${two(Math.floor(second / 3600))}:${two(Math.floor(second / 60) % 60)}:${two(second % 60)}`;
}

const twoDigits = Array.from({ length: 100 }, (_, value) => String(value).padStart(2, '0'));

function two(value: number): string {
  return twoDigits[value]!;
}
