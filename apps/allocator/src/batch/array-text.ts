/**
 * Arrays in Postgres's text form (https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO), for one-dimensional
 * arrays of numbers, booleans and text. The driver's own reader goes character by character, and these are on the hot path.
 */

export function numberArray(values: readonly (number | string | boolean)[]): string {
  return `{${values.join(',')}}`;
}

const PLAIN = /^[\w.-]+$/;
const TO_ESCAPE = /["\\]/g;

export function textArray(values: readonly string[]): string {
  let out = '{';
  for (let index = 0; index < values.length; index++) {
    const value = values[index] as string;
    if (index > 0) out += ',';
    // A plain word may stand alone, but for the one that means null.
    out += PLAIN.test(value) && value.length > 4 ? value : `"${value.replace(TO_ESCAPE, '\\$&')}"`;
  }
  return `${out}}`;
}

/** The elements of an array of numbers, or of words without spaces, quotes, commas and braces; null elements are the word `NULL`. */
export function readWords(text: string | null): string[] {
  if (text === null || text === '{}') return [];
  const words = text.slice(1, -1).split(',');
  return text.includes('"') ? words.map((word) => word.replaceAll('"', '')) : words;
}
