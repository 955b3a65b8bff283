import { ScalarType } from '@bufbuild/protobuf';
import type { DescEnum } from '@bufbuild/protobuf';
import type { JsonWriter } from './json-writer.js';
import { invalidMessage } from './wire-message.js';
import type { WireMessage } from './wire-message.js';

/** Prints the value between two offsets. Sets `m.after` when the value is a varint, for packed lists. */
export type ValuePrinter = (m: WireMessage, out: JsonWriter, start: number, end: number) => void;

/** @param verifyUtf8 whether a string that is not UTF-8 is an error, by the `utf8_validation` feature of its field */
export function scalarPrinter(type: ScalarType, verifyUtf8: boolean): ValuePrinter {
  switch (type) {
    case ScalarType.STRING:
      return (m, out, start, end) => out.utf8(m.buf, start, end, verifyUtf8);
    case ScalarType.BYTES:
      return (m, out, start, end) => out.quotedAscii(m.buf.toString('base64', start, end));
    case ScalarType.BOOL:
      return (m, out, start, end) => out.ascii(m.varint64(start, end) !== 0 || m.high !== 0 ? 'true' : 'false');
    case ScalarType.INT32:
      return (m, out, start, end) => out.integer(m.varint32(start, end) | 0);
    case ScalarType.UINT32:
      return (m, out, start, end) => out.integer(m.varint32(start, end));
    case ScalarType.SINT32:
      return (m, out, start, end) => {
        const value = m.varint32(start, end);
        out.integer((value >>> 1) ^ -(value & 1));
      };
    case ScalarType.FIXED32:
      return (m, out, start) => out.integer(m.buf.readUInt32LE(start));
    case ScalarType.SFIXED32:
      return (m, out, start) => out.integer(m.buf.readInt32LE(start));
    case ScalarType.FIXED64:
      return (m, out, start) => print64(out, m.buf.readUInt32LE(start), m.buf.readUInt32LE(start + 4), false);
    case ScalarType.SFIXED64:
      return (m, out, start) => print64(out, m.buf.readUInt32LE(start), m.buf.readUInt32LE(start + 4), true);
    case ScalarType.INT64:
      return (m, out, start, end) => print64(out, m.varint64(start, end), m.high, true);
    case ScalarType.UINT64:
      return (m, out, start, end) => print64(out, m.varint64(start, end), m.high, false);
    case ScalarType.SINT64:
      return (m, out, start, end) => {
        const low = m.varint64(start, end);
        const sign = -(low & 1);
        print64(out, (((low >>> 1) | (m.high << 31)) ^ sign) >>> 0, ((m.high >>> 1) ^ sign) >>> 0, true);
      };
    case ScalarType.FLOAT:
      return (m, out, start) => printDouble(out, shortestFloat(m.buf.readFloatLE(start)));
    case ScalarType.DOUBLE:
      return (m, out, start) => printDouble(out, m.buf.readDoubleLE(start));
  }
}

function print64(out: JsonWriter, low: number, high: number, signed: boolean): void {
  if (high <= 0x1fffff) {
    out.byte(0x22);
    out.integer(high * 0x100000000 + low);
    return out.byte(0x22);
  }
  const bits = (BigInt(high) << 32n) | BigInt(low);
  return out.quotedAscii(String(signed ? BigInt.asIntN(64, bits) : bits));
}

function printDouble(out: JsonWriter, value: number): void {
  if (Number.isFinite(value)) out.ascii(Object.is(value, -0) ? '-0' : String(value));
  else out.quotedAscii(String(value));
}

/** The least normal float; those below it have fewer than six significant digits. */
const normalMin = 2 ** -126;

/** A double that prints with the fewest digits that read as the same float: 0.1 and not 0.10000000149011612. */
function shortestFloat(value: number): number {
  if (!Number.isFinite(value) || (Number.isInteger(value) && Math.abs(value) <= 0x1000000)) return value;
  for (let digits = Math.abs(value) < normalMin ? 1 : 6; digits < 9; digits++) {
    const candidate = Number(value.toPrecision(digits));
    if (Math.fround(candidate) === value) return candidate;
  }
  return Number(value.toPrecision(9));
}

/** A finite double, for `google.protobuf.Value`. */
export function printFiniteDouble(m: WireMessage, out: JsonWriter, start: number): void {
  const value = m.buf.readDoubleLE(start);
  if (!Number.isFinite(value)) invalidMessage('google.protobuf.Value is not a finite number');
  printDouble(out, value);
}

/** Enum values by name, or by number when the enum does not declare it or the option says so. */
export function enumPrinter(desc: DescEnum, asNumber: boolean): ValuePrinter {
  if (desc.typeName === 'google.protobuf.NullValue') {
    return (m, out, start, end) => {
      m.varint32(start, end);
      out.ascii('null');
    };
  }
  const names = new Map<number, Buffer>();
  if (!asNumber) for (const { number } of desc.values) names.set(number, Buffer.from(enumText(desc, number)));
  return (m, out, start, end) => {
    const number = m.varint32(start, end) | 0;
    const name = names.get(number);
    if (name) out.raw(name);
    else out.integer(number);
  };
}

function enumText(desc: DescEnum, number: number): string {
  return JSON.stringify(desc.value[number]!.jsonName);
}

/** The JSON text of a scalar's zero value. */
export function zeroText(type: ScalarType): string {
  switch (type) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return '""';
    case ScalarType.BOOL:
      return 'false';
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return '"0"';
    default:
      return '0';
  }
}

/** The JSON text of an enum's first value. */
export function enumZeroText(desc: DescEnum, asNumber: boolean): string {
  const first = desc.values[0]?.number ?? 0;
  if (desc.typeName === 'google.protobuf.NullValue') return 'null';
  return asNumber ? String(first) : enumText(desc, first);
}
