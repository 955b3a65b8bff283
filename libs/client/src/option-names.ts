/**
 * An option that is misspelt would be ignored without a word.
 *
 * @param place what the options are of, for example `createClient`
 * @throws TypeError naming the option, and the one that was probably meant
 */
export function checkOptionNames(place: string, given: object, known: readonly string[]): void {
  for (const name of Object.keys(given)) {
    if (known.includes(name)) continue;
    const letters = lettersOf(name);
    const [nearest] = known
      .map((one) => ({ one, distance: letters.includes(lettersOf(one)) ? 0 : editDistance(letters, lettersOf(one)) }))
      .filter(({ one, distance }) => distance <= Math.max(2, one.length / 2))
      .sort((a, b) => a.distance - b.distance);
    const hint = nearest ? `did you mean ${nearest.one}?` : `expected some of ${known.join(', ')}`;
    throw new TypeError(`${place} has no option ${name}: ${hint}`);
  }
}

/** `max_per_hour` and `perHour` differ in no letter that counts. */
function lettersOf(name: string): string {
  return name.toLowerCase().replace(/[^a-z]/g, '');
}

/** @throws TypeError when the value is given and no number within the bounds */
export function checkNumber(place: string, value: number | undefined, min: number, max: number, whole = true): void {
  if (value === undefined) return;
  if (typeof value === 'number' && value >= min && value <= max && (!whole || Number.isInteger(value))) return;
  throw new TypeError(`${place} ${String(value)}: expected a ${whole ? 'whole ' : ''}number from ${min} to ${max}`);
}

/** Letters to insert, drop or replace. */
function editDistance(a: string, b: string): number {
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1] ? 0 : 1;
      current.push(Math.min(last[column]! + 1, current[column - 1]! + 1, last[column - 1]! + same));
    }
    last = current;
  }
  return last[b.length]!;
}
