import { hashOf } from '../wire/hash.js';

interface Slot<T> {
  bytes: Buffer;
  hash: number;
  value: T;
}

/** Finds the value of a name from the name's UTF-8 bytes, without making a string of them. Filled once. */
export class NameTable<T> {
  private readonly byName = new Map<string, T>();
  private readonly slots: (Slot<T> | undefined)[];
  private readonly mask: number;

  /** The first of equal names wins. */
  constructor(names: Iterable<readonly [string, T]>) {
    for (const [name, value] of names) if (!this.byName.has(name)) this.byName.set(name, value);
    let size = 4;
    while (size < this.byName.size * 2) size *= 2;
    this.mask = size - 1;
    this.slots = new Array<Slot<T> | undefined>(size).fill(undefined);
    for (const [name, value] of this.byName) {
      const bytes = Buffer.from(name);
      const hash = hashOf(bytes, 0, bytes.length);
      let index = hash & this.mask;
      while (this.slots[index]) index = (index + 1) & this.mask;
      this.slots[index] = { bytes, hash, value };
    }
  }

  get(name: string): T | undefined {
    return this.byName.get(name);
  }

  find(buf: Uint8Array, start: number, end: number, hash: number): T | undefined {
    const length = end - start;
    for (let index = hash & this.mask; ; index = (index + 1) & this.mask) {
      const slot = this.slots[index];
      if (slot === undefined) return undefined;
      if (slot.hash === hash && slot.bytes.length === length && sameBytes(slot.bytes, buf, start)) return slot.value;
    }
  }
}

function sameBytes(bytes: Uint8Array, buf: Uint8Array, start: number): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== buf[start + i]) return false;
  return true;
}
