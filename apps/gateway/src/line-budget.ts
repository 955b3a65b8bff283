const SECOND_MS = 1000;

/** What became of the lines of one kind. */
interface Kind {
  /** When the second ends that {@link written} counts. */
  endsAt: number;
  written: number;
  /** Since the start. */
  leftOut: number;
  /** Of those, how many {@link LineBudget.untold} has given. */
  told: number;
}

/** So many lines a second of each kind, so that a flood of one hides no other; what goes beyond is counted. There must be few kinds. */
export class LineBudget<Name extends string> {
  private readonly kinds = new Map<Name, Kind>();

  constructor(private readonly perSecond: number) {}

  /**
   * Whether one more line may be written; otherwise it is counted as left out.
   *
   * @param now in milliseconds, by a clock that never goes back
   */
  take(name: Name, now: number): boolean {
    let kind = this.kinds.get(name);
    if (!kind) this.kinds.set(name, (kind = { endsAt: now + SECOND_MS, written: 0, leftOut: 0, told: 0 }));
    if (now >= kind.endsAt) {
      kind.endsAt = now + SECOND_MS;
      kind.written = 0;
    }
    if (kind.written < this.perSecond) {
      kind.written += 1;
      return true;
    }
    kind.leftOut += 1;
    return false;
  }

  /** Lines left out since the last time of asking, of each kind of which there are any. */
  untold(): [Name, number][] {
    const news: [Name, number][] = [];
    for (const name of this.kinds.keys()) {
      const count = this.untoldOf(name);
      if (count > 0) news.push([name, count]);
    }
    return news;
  }

  /** As {@link untold}, of one kind. */
  untoldOf(name: Name): number {
    const kind = this.kinds.get(name);
    if (!kind) return 0;
    const news = kind.leftOut - kind.told;
    kind.told = kind.leftOut;
    return news;
  }

  /** Lines left out since the start, by kind. */
  *leftOut(): Iterable<[Name, number]> {
    for (const [name, { leftOut }] of this.kinds) yield [name, leftOut];
  }
}
