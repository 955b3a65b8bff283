import { ownText } from './own-text.js';

/** A power of two. */
const SLOTS = 1024;
/** Characters of its end that a text is placed by; those of a token's end are its signature's, which no two share. */
const PLACED_BY = 6;

/**
 * A few of the texts that were added last. Each has one place, and the next one for that place takes it: nothing is hashed,
 * nothing grows, and a storm of texts that never come again leaves nothing behind. What was added may be forgotten.
 */
export class RecentTexts {
  private readonly slots: (string | undefined)[] = Array.from({ length: SLOTS }, () => undefined);

  has(text: string): boolean {
    return this.slots[placeOf(text)] === text;
  }

  add(text: string): void {
    this.slots[placeOf(text)] = ownText(text);
  }
}

function placeOf(text: string): number {
  let place = 0;
  for (let at = Math.max(0, text.length - PLACED_BY); at < text.length; at++) place = place * 31 + text.charCodeAt(at);
  return place & (SLOTS - 1);
}
