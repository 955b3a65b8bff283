/** Shorter runs are looked at byte by byte. */
export const longRun = 32;

const lows = 0x01010101;
const highs = 0x80808080 | 0;

/**
 * The index of the first byte that JSON strings treat apart (a quote, a backslash or a control character), or `end`.
 * It looks at four bytes at a time: `(x - lows) & ~x` has the high bit of a byte set where that byte of x is zero. A
 * borrow can set it for a byte above such a one as well, hence the look at single bytes once something was found.
 */
export function plainRunEnd(buf: Uint8Array, start: number, end: number): number {
  let pos = start;
  const aligned = Math.min(end, start + ((4 - ((buf.byteOffset + start) & 3)) & 3));
  while (pos < aligned && !isSpecial(buf[pos]!)) pos++;
  if (pos < aligned || end - pos < longRun) return bytesRunEnd(buf, pos, end);
  const words = new Uint32Array(buf.buffer, buf.byteOffset + pos, (end - pos) >> 2);
  for (let i = 0; i < words.length; i++) {
    const word = words[i]! | 0;
    const quote = word ^ 0x22222222;
    const backslash = word ^ 0x5c5c5c5c;
    const found = ((word - 0x20202020) & ~word) | ((quote - lows) & ~quote) | ((backslash - lows) & ~backslash);
    if ((found & highs) === 0) continue;
    const at = pos + 4 * i;
    const special = bytesRunEnd(buf, at, at + 4);
    if (special < at + 4) return special;
  }
  return bytesRunEnd(buf, pos + 4 * words.length, end);
}

function bytesRunEnd(buf: Uint8Array, start: number, end: number): number {
  let pos = start;
  while (pos < end && !isSpecial(buf[pos]!)) pos++;
  return pos;
}

function isSpecial(byte: number): boolean {
  return byte < 0x20 || byte === 0x22 || byte === 0x5c;
}
