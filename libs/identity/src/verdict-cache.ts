import { ownText } from './own-text.js';

/**
 * A bounded map from token texts to verdicts that forgets what was not asked for lately.
 *
 * Two generations stand for the order of use: a hit moves an entry to the young one; when the young one is full it becomes the
 * old one, and the old one is dropped. A hit costs one look-up and nothing is ever sorted.
 */
export class VerdictCache<Verdict> {
  private young = new Map<string, Verdict>();
  private old = new Map<string, Verdict>();
  private youngCharacters = 0;
  private readonly entriesMax: number;
  private readonly charactersMax: number;

  /** @param sizeMax entries at most; texts longer than 1 KB on average make it fewer */
  constructor(sizeMax: number) {
    this.entriesMax = Math.max(1, Math.floor(sizeMax / 2));
    this.charactersMax = this.entriesMax * 1024;
  }

  get size(): number {
    return this.young.size + this.old.size;
  }

  /** All of them, in no order. */
  *values(): Iterable<Verdict> {
    yield* this.young.values();
    yield* this.old.values();
  }

  get(text: string): Verdict | undefined {
    const found = this.young.get(text);
    if (found !== undefined) return found;
    const older = this.old.get(text);
    if (older !== undefined) {
      this.old.delete(text);
      this.set(text, older);
    }
    return older;
  }

  set(text: string, verdict: Verdict): void {
    if (this.young.size >= this.entriesMax || this.youngCharacters + text.length > this.charactersMax) {
      this.old = this.young;
      this.young = new Map();
      this.youngCharacters = 0;
    }
    if (!this.young.has(text)) this.youngCharacters += text.length;
    this.young.set(ownText(text), verdict);
  }
}
