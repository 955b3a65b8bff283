/**
 * Checks an escape of a JSON string (RFC 8259 section 7). Both halves of a surrogate pair count as one.
 * @param pos of the backslash
 * @returns the index after it; 0 when it is none; -1 when it is half of a surrogate pair, which no UTF-8 stands for
 */
export function escapeEnd(buf: Uint8Array, pos: number): number {
  switch (buf[pos + 1]) {
    case 0x22: // "
    case 0x5c: // \\
    case 0x2f: // /
    case 0x62: // b
    case 0x66: // f
    case 0x6e: // n
    case 0x72: // r
    case 0x74: // t
      return pos + 2;
    case 0x75: // u
      return unicodeEnd(buf, pos);
    default:
      return 0;
  }
}

function unicodeEnd(buf: Uint8Array, pos: number): number {
  const unit = codeUnit(buf, pos + 2);
  if (unit < 0) return 0;
  if (unit < 0xd800 || unit > 0xdfff) return pos + 6;
  if (unit > 0xdbff || buf[pos + 6] !== 0x5c || buf[pos + 7] !== 0x75) return -1;
  const low = codeUnit(buf, pos + 8);
  return low >= 0xdc00 && low <= 0xdfff ? pos + 12 : -1;
}

/** The number that four hexadecimal digits spell, or -1. */
function codeUnit(buf: Uint8Array, start: number): number {
  let unit = 0;
  for (let i = start; i < start + 4; i++) {
    const byte = buf[i]!;
    const lower = byte | 0x20;
    if (byte >= 0x30 && byte <= 0x39) unit = unit * 16 + byte - 0x30;
    else if (lower >= 0x61 && lower <= 0x66) unit = unit * 16 + lower - 0x57;
    else return -1;
  }
  return unit;
}
