/**
 * Encoding of header blocks without state (RFC 7541 §6.1, §6.2.2, §6.2.3): static entries by index, everything else as a
 * literal that is not indexed. The dynamic table is set to 0 once per connection, by a size update in its first block.
 */
import { writeInteger } from './integer.js';
import { writeLatin1 } from './latin1.js';
import { STATIC_FIELD_INDEX, STATIC_NAME_INDEX } from './static-table.js';

/** A dynamic table size update to 0 (§6.3). */
export const TABLE_SIZE_ZERO = 0x20;

/** Octets that one field may take at most, given the lengths of its name and value. */
export const FIELD_OCTETS_EXTRA = 12;

/** Fields that intermediaries must not index either (§7.1.3). */
const NEVER_INDEXED: ReadonlySet<string> = new Set(['authorization', 'cookie', 'proxy-authorization', 'set-cookie']);

/** Writes one field; the target must have room for its text and FIELD_OCTETS_EXTRA. Returns the offset after it. */
export function writeField(target: Buffer, at: number, name: string, value: string): number {
  const nameIndex = STATIC_NAME_INDEX.get(name);
  if (nameIndex === undefined) {
    target[at] = 0;
    return writeText(target, writeText(target, at + 1, name), value);
  }
  if (FULL_ENTRY_NAMES.has(name)) {
    const index = STATIC_FIELD_INDEX.get(`${name}\0${value}`);
    if (index !== undefined) {
      target[at] = 0x80 | index;
      return at + 1;
    }
  }
  return writeText(target, writeInteger(target, at, NEVER_INDEXED.has(name) ? 0x10 : 0, 4, nameIndex), value);
}

const FULL_ENTRY_NAMES: ReadonlySet<string> = new Set([...STATIC_FIELD_INDEX.keys()].map((key) => key.split('\0')[0]!));

/** A string literal without Huffman coding: cheaper to write, and to read. */
function writeText(target: Buffer, at: number, text: string): number {
  const length = text.length;
  if (length < 0x7f) target[at++] = length;
  else at = writeInteger(target, at, 0, 7, length);
  return writeLatin1(target, at, text);
}
