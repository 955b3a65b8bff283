/** Numbers from 0 to 1 that are the same for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Picks by weight; the weights must not all be 0. */
export function weighted<T>(items: readonly { readonly item: T; readonly weight: number }[]): (random: number) => T {
  const total = items.reduce((sum, { weight }) => sum + weight, 0);
  if (!(total > 0)) throw new RangeError('the weights are all 0');
  return (random) => {
    let left = random * total;
    for (const { item, weight } of items) {
      left -= weight;
      if (left < 0) return item;
    }
    return items.findLast(({ weight }) => weight > 0)!.item;
  };
}
