/**
 * The dynamic table (RFC 7541 §2.3.2 and §4): first in, first out, newest entry first, bounded by the sum over its
 * entries of name length + value length + 32.
 */
import type { Field } from '../fields.js';

/** What an entry, or a field of a header list (RFC 9113 §6.5.2), counts beyond its text. */
export const FIELD_OVERHEAD = 32;

export class DynamicTable {
  /** A ring: the newest entry is at `head - 1`. Its length is a power of two, so positions wrap by a mask. */
  private ring: (Field | undefined)[] = [];
  private head = 0;
  private count = 0;
  private size = 0;
  /** Changes whenever an index may mean another entry than before. */
  generation = 0;

  constructor(private max: number) {}

  get length(): number {
    return this.count;
  }

  /** The largest size the entries may reach, in octets. */
  get maxSize(): number {
    return this.max;
  }

  /** The entry `index` places from the newest, which is 0. */
  get(index: number): Field | undefined {
    return index < this.count ? this.ring[(this.head - 1 - index) & (this.ring.length - 1)] : undefined;
  }

  /** §4.3: entries are evicted from the end until they fit. */
  resize(max: number): void {
    if (max === this.max) return;
    this.generation++;
    this.max = max;
    while (this.size > max) this.evict();
  }

  /** §4.4: room is made first; an entry larger than the table empties it. */
  insert(field: Field): void {
    this.generation++;
    const size = field[0].length + field[1].length + FIELD_OVERHEAD;
    while (this.count > 0 && this.size + size > this.max) this.evict();
    if (size > this.max) return;
    if (this.count === this.ring.length) this.grow();
    this.ring[this.head] = field;
    this.head = (this.head + 1) & (this.ring.length - 1);
    this.count++;
    this.size += size;
  }

  private evict(): void {
    const at = (this.head - this.count) & (this.ring.length - 1);
    const [name, value] = this.ring[at]!;
    this.ring[at] = undefined;
    this.count--;
    this.size -= name.length + value.length + FIELD_OVERHEAD;
  }

  private grow(): void {
    const next: (Field | undefined)[] = new Array<Field | undefined>(Math.max(8, this.ring.length * 2)).fill(undefined);
    for (let index = 0; index < this.count; index++) next[this.count - 1 - index] = this.get(index);
    this.ring = next;
    this.head = this.count;
  }
}
