import { ScalarType } from '@bufbuild/protobuf';
import type { DescField } from '@bufbuild/protobuf';
import { wireType } from '../read/field-reader.js';
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

  return (m, out, first) => {
    m.open();
    out.byte(0x7b);
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
    out.byte(0x7d);
    m.close();
  };
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

function valuePrinter(desc: MapField, printers: MessagePrinters): OccurrencePrinter {
  if (desc.mapKind === 'message') {
    const printer = printers.of(desc.message);
    return (m, out, at) => {
      if (at === 0) printer.print(m, out, 0, 0);
      else printer.print(m, out, m.start(at), m.end(at));
    };
  }
  const { enumNumbers } = printers.options;
  const isEnum = desc.mapKind === 'enum';
  const zero = isEnum ? enumZeroText(desc.enum, enumNumbers) : zeroText(desc.scalar);
  const print = isEnum ? enumPrinter(desc.enum, enumNumbers) : scalarPrinter(desc.scalar, desc.utf8Validation);
  return (m, out, at) => {
    if (at === 0) out.ascii(zero);
    else print(m, out, m.start(at), m.end(at));
  };
}

/** An entry whose value a closed enum does not declare is an unknown field as a whole. */
function unknownValue(desc: MapField): ((m: WireMessage, at: number) => boolean) | undefined {
  if (desc.mapKind !== 'enum' || desc.enum.open) return undefined;
  const declared = new Set(desc.enum.values.map((value) => value.number));
  return (m, at) => !declared.has(m.varint32(m.start(at), m.end(at)) | 0);
}
