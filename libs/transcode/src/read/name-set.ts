import type { JsonScanner } from './json-scanner.js';

/** So many names are compared one by one; more go into a set. */
const listMax = 8;

/**
 * The names of an object that were seen, to refuse one that occurs twice. As long as they are few and have no escapes
 * only their hashes and places in the text are kept, and no string is made.
 */
export class NameSet {
  private readonly hashes: number[] = [];
  private readonly ranges: number[] = [];
  private texts: Set<string> | undefined;

  /** Adds the scanner's last name. @returns whether it was there already */
  addLast(s: JsonScanner): boolean {
    if (!this.texts && (s.escaped || this.hashes.length === listMax)) this.texts = this.allTexts(s);
    if (this.texts) {
      const before = this.texts.size;
      return this.texts.add(s.text()).size === before;
    }
    for (let i = 0; i < this.hashes.length; i++) {
      if (this.hashes[i] === s.hash && this.textAt(s, i) === s.text()) return true;
    }
    this.hashes.push(s.hash);
    this.ranges.push(s.start, s.stop);
    return false;
  }

  private textAt(s: JsonScanner, index: number): string {
    return s.buf.toString('utf8', this.ranges[2 * index]!, this.ranges[2 * index + 1]!);
  }

  private allTexts(s: JsonScanner): Set<string> {
    return new Set(this.hashes.map((_, index) => this.textAt(s, index)));
  }
}
