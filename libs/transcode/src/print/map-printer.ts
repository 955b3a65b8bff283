import { Buffer, isUtf8 } from 'node:buffer';
import { ScalarType } from '@bufbuild/protobuf';
import type { DescField } from '@bufbuild/protobuf';
import { tagOf, wireType } from '../mapping/tag.js';
import { hashOf } from '../wire/hash.js';
import type { OccurrencePrinter } from './field-printer.js';
import type { JsonWriter } from './json-writer.js';
import type { MessagePrinters } from './message-printer.js';
import { enumPrinter, enumZeroText, scalarPrinter, zeroText } from './scalar.js';
import type { ValuePrinter } from './scalar.js';
import type { FieldIndex, WireMessage } from './wire-message.js';

type MapField = DescField & { fieldKind: 'map' };

/** Maps: an object with the keys as names. Of entries with one key the last counts, so that no name is printed twice. */
export function mapPrinter(desc: MapField, printers: MessagePrinters): OccurrencePrinter {
  const index = entryIndex(desc);
  const printKey = keyPrinter(desc);
  const keyZero = `"${zeroText(desc.mapKey).replaceAll('"', '')}"`;
  const printValue = valuePrinter(desc, printers);
  const isDropped = unknownValue(desc);
  const printPlainValue = plainValuePrinter(desc, printers);
  const hashKey = keyHash(desc);
  const keyTag = tagOf(1, wireType(desc.mapKey));
  const valueTag = tagOf(2, desc.mapKind === 'message' ? 2 : desc.mapKind === 'enum' ? 0 : wireType(desc.scalar));

  const key = (m: WireMessage, out: JsonWriter, frame: number): void => {
    const at = m.first(frame, 0);
    if (at === 0) out.ascii(keyZero);
    else printKey(m, out, m.start(at), m.end(at));
  };

  /** The last entry of each key, by the key's text. */
  const lastByKey = (m: WireMessage, out: JsonWriter, first: number): Iterable<number> => {
    if (m.next(first) === 0) return [first];
    const last = new Map<string, number>();
    for (let at = first; at !== 0; at = m.next(at)) {
      const frame = m.enter(index, m.start(at), m.end(at));
      const before = out.pos;
      key(m, out, frame);
      last.set(out.buf.toString('latin1', before, out.pos), at);
      out.pos = before;
      m.leave(frame);
    }
    return last.values();
  };

  /** Entries that are a key and a value with no key like another: what all writers write. */
  const printPlain = (m: WireMessage, out: JsonWriter, first: number): boolean => {
    if (isDropped || !hasDistinctKeys(m, first, keyTag, valueTag, hashKey)) return false;
    for (let at = first; at !== 0; at = m.next(at)) {
      if (at !== first) out.byte(0x2c);
      const end = m.end(at);
      m.varint32(m.start(at), end);
      const keyEnd = m.pass(keyTag & 7, m.after, end);
      printKey(m, out, m.contentStart, m.contentEnd);
      out.byte(0x3a);
      m.varint32(keyEnd, end);
      m.pass(valueTag & 7, m.after, end);
      printPlainValue(m, out, m.contentStart, m.contentEnd);
    }
    return true;
  };

  const printAny = (m: WireMessage, out: JsonWriter, first: number): void => {
    let isFirst = true;
    for (const entry of lastByKey(m, out, first)) {
      const frame = m.enter(index, m.start(entry), m.end(entry));
      const value = m.first(frame, 1);
      if (value === 0 || !isDropped?.(m, value)) {
        if (!isFirst) out.byte(0x2c);
        isFirst = false;
        key(m, out, frame);
        out.byte(0x3a);
        printValue(m, out, value);
      }
      m.leave(frame);
    }
  };

  return (m, out, first) => {
    m.descend();
    out.byte(0x7b);
    if (!printPlain(m, out, first)) printAny(m, out, first);
    out.byte(0x7d);
    m.ascend();
  };
}

/** So many keys are compared one by one; more go into a set. */
const listMax = 8;

/**
 * Whether every entry is a key and then a value, and the keys surely differ: their hashes do. Different keys of one
 * hash are found out by the caller, which then looks at the keys themselves.
 */
function hasDistinctKeys(m: WireMessage, first: number, keyTag: number, valueTag: number, hashKey: KeyHash): boolean {
  const hashes: number[] = [];
  let set: Set<number> | undefined;
  for (let at = first; at !== 0; at = m.next(at)) {
    const end = m.end(at);
    if (m.start(at) === end || m.varint32(m.start(at), end) !== keyTag) return false;
    const keyEnd = m.pass(keyTag & 7, m.after, end);
    const hash = hashKey(m, m.contentStart, m.contentEnd);
    if (keyEnd === end || m.varint32(keyEnd, end) !== valueTag) return false;
    if (m.pass(valueTag & 7, m.after, end) !== end) return false;
    if (set ? set.has(hash) : hashes.includes(hash)) return false;
    if (set) set.add(hash);
    else if (hashes.push(hash) === listMax) set = new Set(hashes);
  }
  return true;
}

/** A number that is the same for keys that print alike. */
type KeyHash = (m: WireMessage, start: number, end: number) => number;

/**
 * A varint has other spellings than its shortest, also of more bits than its type has: any but 0 is `true`, and -1 takes five
 * octets or ten. Strings that need not be UTF-8 print alike where their bad bytes are replaced.
 */
function keyHash(desc: MapField): KeyHash {
  switch (desc.mapKey) {
    case ScalarType.STRING:
      if (desc.utf8Validation) return (m, start, end) => hashOf(m.buf, start, end);
      return (m, start, end) => {
        const bytes = m.buf.subarray(start, end);
        const printed = isUtf8(bytes) ? bytes : Buffer.from(bytes.toString());
        return hashOf(printed, 0, printed.length);
      };
    case ScalarType.BOOL:
      return (m, start, end) => ((m.varint64(start, end) | m.high) === 0 ? 0 : 1);
    case ScalarType.INT32:
    case ScalarType.UINT32:
    case ScalarType.SINT32:
      return (m, start, end) => m.varint32(start, end);
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64:
      return (m, start, end) => m.varint64(start, end) ^ Math.imul(m.high, 31);
    default:
      return (m, start, end) => hashOf(m.buf, start, end);
  }
}

/** An entry is a message with the key as field 1 and the value as field 2. */
function entryIndex(desc: MapField): FieldIndex {
  const valueType = desc.mapKind === 'message' ? 2 : desc.mapKind === 'enum' ? 0 : wireType(desc.scalar);
  return {
    count: 2,
    position: (number) => (number === 1 ? 0 : number === 2 ? 1 : -1),
    wireTypes: Uint8Array.of(1 << wireType(desc.mapKey), 1 << valueType),
    keepsAll: Uint8Array.of(0, 0),
    siblings: [undefined, undefined],
    closed: [undefined, undefined],
  };
}

function keyPrinter(desc: MapField): ValuePrinter {
  const print = scalarPrinter(desc.mapKey, desc.utf8Validation);
  if (desc.mapKey === ScalarType.STRING || zeroText(desc.mapKey) === '"0"') return print;
  return (m, out, start, end) => {
    out.byte(0x22);
    print(m, out, start, end);
    out.byte(0x22);
  };
}

function plainValuePrinter(desc: MapField, printers: MessagePrinters): ValuePrinter {
  if (desc.mapKind === 'enum') return enumPrinter(desc.enum, printers.options.enumNumbers);
  if (desc.mapKind === 'scalar') return scalarPrinter(desc.scalar, desc.utf8Validation);
  const printer = printers.of(desc.message);
  return (m, out, start, end) => {
    m.descend();
    printer.print(m, out, start, end);
    m.ascend();
  };
}

/** @returns a printer that takes occurrence 0 for a value that is absent: then it is the default */
function valuePrinter(desc: MapField, printers: MessagePrinters): OccurrencePrinter {
  const print = plainValuePrinter(desc, printers);
  const { enumNumbers } = printers.options;
  return (m, out, at) => {
    if (at !== 0) print(m, out, m.start(at), m.end(at));
    else if (desc.mapKind === 'message') print(m, out, 0, 0);
    else out.ascii(desc.mapKind === 'enum' ? enumZeroText(desc.enum, enumNumbers) : zeroText(desc.scalar));
  };
}

/** An entry whose value a closed enum does not declare is an unknown field as a whole. */
function unknownValue(desc: MapField): ((m: WireMessage, at: number) => boolean) | undefined {
  if (desc.mapKind !== 'enum' || desc.enum.open) return undefined;
  const declared = new Set(desc.enum.values.map((value) => value.number));
  return (m, at) => !declared.has(m.varint32(m.start(at), m.end(at)) | 0);
}
