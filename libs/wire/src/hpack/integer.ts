/**
 * Integers with a prefix of N bits (RFC 7541 §5.1):
 *
 *   value < 2^N - 1      the prefix alone
 *   otherwise            the prefix all ones, then value - (2^N - 1) in groups of seven bits, lowest first
 */
import { CompressionError } from './compression-error.js';

/** Larger values have no use in HPACK; longer encodings are refused however many zero groups they hold. */
const CONTINUATION_OCTETS_MAX = 4;

/** A position in a header block; the readers of this folder move it. */
export interface Cursor {
  readonly bytes: Uint8Array;
  at: number;
  readonly end: number;
}

/** Reads an integer whose prefix is the low `prefixBits` of the octet at the cursor. */
export function readInteger(cursor: Cursor, prefixBits: number): number {
  if (cursor.at >= cursor.end) throw new CompressionError('the block ends inside an integer');
  const mask = (1 << prefixBits) - 1;
  let value = cursor.bytes[cursor.at++]! & mask;
  if (value < mask) return value;
  for (let group = 0; group < CONTINUATION_OCTETS_MAX; group++) {
    if (cursor.at >= cursor.end) throw new CompressionError('the block ends inside an integer');
    const octet = cursor.bytes[cursor.at++]!;
    value += (octet & 0x7f) << (7 * group);
    if (octet < 0x80) return value;
  }
  throw new CompressionError('an integer is longer than any legal one');
}

/** Writes an integer under the `pattern` of the representation's high bits; returns the offset after it. */
export function writeInteger(
  target: Uint8Array,
  at: number,
  pattern: number,
  prefixBits: number,
  value: number,
): number {
  const mask = (1 << prefixBits) - 1;
  if (value < mask) {
    target[at] = pattern | value;
    return at + 1;
  }
  target[at++] = pattern | mask;
  let left = value - mask;
  while (left >= 0x80) {
    target[at++] = (left & 0x7f) | 0x80;
    left >>>= 7;
  }
  target[at++] = left;
  return at;
}
