/**
 * A map with a bound, for states that go stale by themselves.
 *
 * Entries live in two generations. What is used moves to the young one; when that is half the bound, or has been young
 * for `staleAfter`, the old generation is dropped and the young one becomes old. So nothing that was used within
 * `staleAfter` is lost unless the bound forces it, an idle map empties itself as it is used, and no entry has a timer.
 */
export class Generations<V> {
  #young = new Map<string, V>();
  #old = new Map<string, V>();
  #youngSince = 0;
  readonly #half: number;

  /** @param entriesMax at least 2 */
  constructor(entriesMax: number) {
    this.#half = Math.max(1, Math.floor(entriesMax / 2));
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  /** The value, without moving it. */
  peek(key: string): V | undefined {
    return this.#young.get(key) ?? this.#old.get(key);
  }

  /**
   * The value, which thereby counts as used.
   *
   * @param now on the same clock and in the same unit as `staleAfter`
   */
  get(key: string, now: number, staleAfter: number): V | undefined {
    if (now - this.#youngSince >= staleAfter) this.#turn(now);
    const value = this.#young.get(key);
    if (value !== undefined) return value;
    const older = this.#old.get(key);
    if (older === undefined) return undefined;
    this.#old.delete(key);
    this.set(key, older, now);
    return older;
  }

  set(key: string, value: V, now: number): void {
    if (this.#young.size >= this.#half) this.#turn(now);
    this.#young.set(key, value);
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
  }

  #turn(now: number): void {
    this.#old = this.#young;
    this.#young = new Map();
    this.#youngSince = now;
  }
}
