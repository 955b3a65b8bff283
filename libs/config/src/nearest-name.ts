/**
 * Which of the names was probably meant; undefined when none is near.
 *
 * A name that ends with the text after a dot counts first (`Greeter.Greet` for `acme.Greeter.Greet`), then the one with the fewest
 * letters to insert, drop, replace or swap with their neighbour (optimal string alignment distance). Case counts for nothing.
 */
export function nearestName(text: string, names: Iterable<string>): string | undefined {
  const wanted = text.toLowerCase();
  let best: { name: string; distance: number } | undefined;
  for (const name of names) {
    const lower = name.toLowerCase();
    if (lower.endsWith(`.${wanted}`)) return name;
    const most = Math.min(
      best?.distance ?? Infinity,
      Math.max(2, Math.floor(Math.max(name.length, text.length) / 3) + 1),
    );
    if (Math.abs(name.length - text.length) >= most) continue;
    const distance = alignmentDistance(wanted, lower);
    if (distance < most) best = { name, distance };
  }
  return best?.name;
}

/** Letters to insert, drop, replace or swap with their neighbour, so that one text becomes the other (optimal string alignment). */
export function alignmentDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      let cost = Math.min(last[column]! + 1, current[column - 1]! + 1, last[column - 1]! + (same ? 0 : 1));
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      if (swapped) cost = Math.min(cost, beforeLast[column - 2]! + 1);
      current.push(cost);
    }
    beforeLast = last;
    last = current;
  }
  return last[b.length]!;
}
