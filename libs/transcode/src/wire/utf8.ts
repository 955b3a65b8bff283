import { isUtf8 } from 'node:buffer';

/** Offset of the first character that breaks UTF-8, in a text that is not UTF-8: halves it until it is found. */
export function firstInvalidUtf8(buf: Uint8Array): number {
  let low = 0;
  let high = buf.length;
  while (high - low > 16) {
    let middle = (low + high) >> 1;
    // To the start of a character; a character has at most three bytes after its first.
    for (let i = 0; i < 3 && (buf[middle]! & 0xc0) === 0x80; i++) middle--;
    if (isUtf8(buf.subarray(low, middle))) low = middle;
    else high = middle;
  }
  let valid = low;
  for (let end = low + 1; end <= Math.min(high + 4, buf.length); end++) {
    if (isUtf8(buf.subarray(low, end))) valid = end;
  }
  return valid;
}
