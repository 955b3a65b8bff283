import { ScalarType } from '@bufbuild/protobuf';
import type { DescEnum } from '@bufbuild/protobuf';
import { shorten } from '../errors.js';
import type { ProtoWriter } from '../wire/proto-writer.js';
import { writeBase64 } from './base64.js';
import type { JsonScanner } from './json-scanner.js';
import { NameTable } from './name-table.js';
import { hashOf } from '../wire/hash.js';
import { integerRange, wholeNumber } from './number.js';

/**
 * Reads one JSON value that is not null and writes it in wire format, without its tag.
 * @returns `false` when the value is to be left out and nothing was written
 */
export type ValueReader = (s: JsonScanner, w: ProtoWriter) => void | false;

/** Values of each scalar type in JSON, by the protobuf JSON mapping. */
export function scalarReader(type: ScalarType): ValueReader {
  switch (type) {
    case ScalarType.STRING:
      return readString;
    case ScalarType.BYTES:
      return readBytes;
    case ScalarType.BOOL:
      return readBool;
    case ScalarType.DOUBLE:
      return (s, w) => w.double(readDouble(s, false));
    case ScalarType.FLOAT:
      return (s, w) => w.float(readDouble(s, true));
    default: {
      const write = integerWriter(type);
      const [min, max] = integerRange[type]!;
      const name = ScalarType[type].toLowerCase();
      return (s, w) => write(w, readWhole(s, min, max, name));
    }
  }
}

/** Writes a whole number that is in the type's range. */
export function integerWriter(type: ScalarType): (w: ProtoWriter, value: number | bigint) => void {
  switch (type) {
    case ScalarType.INT32:
      return (w, value) => w.int32(Number(value));
    case ScalarType.UINT32:
      return (w, value) => w.varint32(Number(value));
    case ScalarType.SINT32:
      return (w, value) => {
        const number = Number(value);
        w.varint32(((number << 1) ^ (number >> 31)) >>> 0);
      };
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return (w, value) => w.fixed32(Number(value));
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return (w, value) => w.fixed64(value);
    case ScalarType.SINT64:
      return (w, value) => {
        if (typeof value === 'number') w.int64(value < 0 ? -2 * value - 1 : 2 * value);
        else w.int64(value < 0n ? -2n * value - 1n : 2n * value);
      };
    default:
      return (w, value) => w.int64(value);
  }
}

/** A whole number, bare or in quotes. */
function readWhole(s: JsonScanner, min: number | bigint, max: number | bigint, type: string): number | bigint {
  const first = s.peek();
  const at = s.pos;
  const short = first === 0x22 ? NaN : s.shortInteger();
  if (short >= min && short <= max) return short;
  s.pos = at;
  const buf = first === 0x22 ? quotedNumber(s) : bareNumber(s);
  const value = wholeNumber(buf, s.start, s.stop, s.integral);
  if (value >= min && value <= max) return value;
  return Number.isNaN(value)
    ? s.fail('INVALID_VALUE', `not a whole number: ${shorten(buf.toString('latin1', s.start, s.stop))}`, at)
    : s.fail('INVALID_VALUE', `out of range of ${type}: ${shorten(buf.toString('latin1', s.start, s.stop))}`, at);
}

function bareNumber(s: JsonScanner): Buffer {
  s.number();
  return s.buf;
}

/** A number in quotes: leaves its bounds in the returned buffer, which is another one when the string had escapes. */
function quotedNumber(s: JsonScanner): Buffer {
  const at = s.pos;
  s.string();
  const outer = s.buf;
  const { pos } = s;
  if (s.escaped) {
    s.buf = Buffer.from(s.text());
    s.start = 0;
    s.stop = s.buf.length;
  }
  const inner = s.buf;
  const end = s.numberEnd(s.start);
  s.buf = outer;
  s.pos = pos;
  if (end !== s.stop)
    s.fail('INVALID_VALUE', `not a number: "${shorten(inner.toString('utf8', s.start, s.stop))}"`, at);
  return inner;
}

function readDouble(s: JsonScanner, single: boolean): number {
  const first = s.peek();
  const at = s.pos;
  let buf: Buffer;
  if (first === 0x22) {
    const special = specialDouble(s);
    if (special !== undefined) return special;
    s.pos = at;
    buf = quotedNumber(s);
  } else {
    buf = bareNumber(s);
  }
  const value =
    s.integral && s.stop - s.start <= 15 && buf[s.start] !== 0x2d
      ? (wholeNumber(buf, s.start, s.stop, true) as number)
      : Number(buf.toString('latin1', s.start, s.stop));
  if (Number.isFinite(single ? Math.fround(value) : value)) return value;
  const text = shorten(buf.toString('latin1', s.start, s.stop));
  return s.fail('INVALID_VALUE', `out of range of ${single ? 'float' : 'double'}: ${text}`, at);
}

function specialDouble(s: JsonScanner): number | undefined {
  s.string();
  switch (s.text()) {
    case 'NaN':
      return NaN;
    case 'Infinity':
      return Infinity;
    case '-Infinity':
      return -Infinity;
    default:
      return undefined;
  }
}

/** A finite number, for `google.protobuf.Value`. */
export function readFiniteDouble(s: JsonScanner): number {
  return readDouble(s, false);
}

function readString(s: JsonScanner, w: ProtoWriter): void {
  s.string();
  writeText(s, w);
}

/** Writes the scanner's last string or name with its length. */
export function writeText(s: JsonScanner, w: ProtoWriter): void {
  if (s.escaped) w.string(s.text());
  else w.bytes(s.buf, s.start, s.stop);
}

function readBytes(s: JsonScanner, w: ProtoWriter): void {
  s.peek();
  const at = s.pos;
  s.string();
  const text = s.escaped ? Buffer.from(s.text()) : s.buf.subarray(s.start, s.stop);
  if (!writeBase64(w, text, 0, text.length)) s.fail('INVALID_VALUE', 'not base64', at);
}

function readBool(s: JsonScanner, w: ProtoWriter): void {
  const first = s.peek();
  if (first === 0x74) {
    s.literal('true');
    w.varint32(1);
  } else if (first === 0x66) {
    s.literal('false');
    w.varint32(0);
  } else {
    s.unexpected('true or false');
  }
}

/**
 * Enum values by name or number; a number must be declared when the enum is closed.
 * @param ignoreUnknown leave out names that the enum does not have
 */
export function enumReader(desc: DescEnum, ignoreUnknown: boolean): ValueReader {
  const read = enumNumberReader(desc, ignoreUnknown);
  return (s, w) => {
    const number = read(s);
    if (number === undefined) return false;
    return w.int32(number);
  };
}

function enumNumberReader(desc: DescEnum, ignoreUnknown: boolean): (s: JsonScanner) => number | undefined {
  const byName = new NameTable(
    desc.values.flatMap((value) => [[value.name, value.number] as const, [value.jsonName, value.number] as const]),
  );
  const declared = new Set(desc.values.map((value) => value.number));
  const isNull = desc.typeName === 'google.protobuf.NullValue';
  return (s) => {
    const first = s.peek();
    const at = s.pos;
    if (first === 0x22) {
      s.string();
      const name = s.escaped
        ? byName.get(s.text())
        : byName.find(s.buf, s.start, s.stop, hashOf(s.buf, s.start, s.stop));
      if (name !== undefined || ignoreUnknown) return name;
      return s.fail('INVALID_VALUE', `"${shorten(s.text())}" is not a value of ${desc.typeName}`, at);
    }
    if (first === 0x6e && isNull) {
      s.literal('null');
      return 0;
    }
    if (first === 0x7b || first === 0x5b || first === 0x74 || first === 0x66 || first === 0x6e) {
      return s.unexpected(`a value of ${desc.typeName}`);
    }
    const number = Number(readWhole(s, -0x80000000, 0x7fffffff, 'an enum'));
    if (desc.open || declared.has(number)) return number;
    return s.fail('INVALID_VALUE', `${number} is not a value of ${desc.typeName}`, at);
  };
}
