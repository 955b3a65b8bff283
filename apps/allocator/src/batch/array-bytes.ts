/**
 * One-dimensional arrays in the binary form of Postgres's `array_send` and `array_recv` (src/backend/utils/adt/arrayfuncs.c),
 * which costs neither side the quoting and parsing of the text form:
 *
 *   int32 dimensions (1), int32 has nulls (0), int32 element type,
 *   int32 length, int32 lower bound (1), then for every element int32 byte length and the bytes
 *
 * An empty array has no dimension.
 */
const BOOL = 16;
const INT8 = 20;
const INT4 = 23;
const TEXT = 25;
const HEADER = 20;

function header(type: number, length: number, elementBytes: number): Buffer {
  const bytes = Buffer.allocUnsafe(length === 0 ? 12 : HEADER + elementBytes);
  bytes.writeInt32BE(length === 0 ? 0 : 1, 0);
  bytes.writeInt32BE(0, 4);
  bytes.writeInt32BE(type, 8);
  if (length === 0) return bytes;
  bytes.writeInt32BE(length, 12);
  bytes.writeInt32BE(1, 16);
  return bytes;
}

export function int4Array(values: readonly number[]): Buffer {
  const bytes = header(INT4, values.length, values.length * 8);
  let at = HEADER;
  for (const value of values) {
    bytes.writeInt32BE(4, at);
    bytes.writeInt32BE(value, at + 4);
    at += 8;
  }
  return bytes;
}

/** @param values decimal text of an int64, or a safe integer */
export function int8Array(values: readonly (string | number)[]): Buffer {
  const bytes = header(INT8, values.length, values.length * 12);
  let at = HEADER;
  for (const value of values) {
    bytes.writeInt32BE(8, at);
    bytes.writeBigInt64BE(BigInt(value), at + 4);
    at += 12;
  }
  return bytes;
}

export function boolArray(values: readonly boolean[]): Buffer {
  const bytes = header(BOOL, values.length, values.length * 5);
  let at = HEADER;
  for (const value of values) {
    bytes.writeInt32BE(1, at);
    bytes.writeUInt8(value ? 1 : 0, at + 4);
    at += 5;
  }
  return bytes;
}

export function textArray(values: readonly string[]): Buffer {
  let size = 0;
  for (const value of values) size += 4 + Buffer.byteLength(value);
  const bytes = header(TEXT, values.length, size);
  let at = HEADER;
  for (const value of values) {
    const length = bytes.write(value, at + 4);
    bytes.writeInt32BE(length, at);
    at += 4 + length;
  }
  return bytes;
}
