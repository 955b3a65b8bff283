/**
 * The elements of a one-dimensional array in Postgres's text form (https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO),
 * when they are numbers, or words without spaces, quotes, backslashes, commas and braces. The driver's own reader goes character
 * by character, and this is on the hot path.
 */
export function readWords(text: string | null): string[] {
  if (text === null || text === '{}') return [];
  const words = text.slice(1, -1).split(',');
  // The word null is quoted, when it is one.
  return text.includes('"') ? words.map((word) => word.replaceAll('"', '')) : words;
}
