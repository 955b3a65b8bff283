import { implicitPresence } from '../mapping/field.js';
import { ScalarType } from '@bufbuild/protobuf';
import { fieldMask, maskNamesIn } from '../mapping/field-mask.js';
import { wireType } from '../mapping/tag.js';
import type { AnyField } from './field-index.js';
import type { JsonWriter } from './json-writer.js';
import { mapPrinter } from './map-printer.js';
import type { MessagePrinters } from './message-printer.js';
import { enumPrinter, enumZeroText, scalarPrinter, zeroText } from './scalar.js';
import type { ValuePrinter } from './scalar.js';
import { fieldMaskPrinter } from './well-known.js';
import { invalidMessage } from './wire-message.js';
import type { WireMessage } from './wire-message.js';

/** Prints the JSON value of a field from its first occurrence. */
export type OccurrencePrinter = (m: WireMessage, out: JsonWriter, occurrence: number) => void;

export interface FieldPrinter {
  /** Name and colon. */
  readonly prefix: Buffer;
  readonly print: OccurrencePrinter;
  /** Whether what prints as an empty list or map is left out: it may be on the wire all the same. */
  readonly omitsEmpty: boolean;
  /** Whether a value that is on the wire is left out all the same, because it is the default. */
  readonly isDefault: ((m: WireMessage, occurrence: number) => boolean) | undefined;
  /** What is printed when the field is absent: name, colon and default. */
  readonly absent: Buffer | undefined;
  /** The JSON value of the field when it is absent. */
  readonly absentValue: string;
}

export function compileFieldPrinter(desc: AnyField, printers: MessagePrinters): FieldPrinter {
  const { options } = printers;
  const name = desc.kind === 'extension' ? `[${desc.typeName}]` : options.protoNames ? desc.name : desc.jsonName;
  const prefix = Buffer.from(`${JSON.stringify(name)}:`);
  const absentValue = defaultText(desc, options.enumNumbers);
  const isContainer = desc.fieldKind === 'list' || desc.fieldKind === 'map';
  // An extension that a message does not have is none of its members.
  const hasDefault = desc.kind === 'field' && (isContainer || desc.presence === implicitPresence);
  const isSingular = desc.fieldKind === 'scalar' || desc.fieldKind === 'enum';
  return {
    prefix,
    print: valueOf(desc, printers),
    omitsEmpty: isContainer && !options.printDefaults,
    isDefault: isSingular && hasDefault && !options.printDefaults ? isZero : undefined,
    absent: hasDefault && options.printDefaults ? Buffer.concat([prefix, Buffer.from(absentValue)]) : undefined,
    absentValue,
  };
}

function defaultText(desc: AnyField, enumNumbers: boolean): string {
  switch (desc.fieldKind) {
    case 'scalar':
      return zeroText(desc.scalar);
    case 'enum':
      return enumZeroText(desc.enum, enumNumbers);
    case 'message':
      return 'null';
    case 'list':
      return '[]';
    case 'map':
      return '{}';
  }
}

/** A scalar is zero when all its bytes are; a varint may spell zero in several bytes. */
function isZero(m: WireMessage, occurrence: number): boolean {
  const end = m.end(occurrence);
  const isVarint = m.wireType(occurrence) === 0;
  if (m.wireType(occurrence) === 2) return m.start(occurrence) === end;
  for (let i = m.start(occurrence); i < end; i++) if ((m.buf[i]! & (isVarint ? 0x7f : 0xff)) !== 0) return false;
  return true;
}

function valueOf(desc: AnyField, printers: MessagePrinters): OccurrencePrinter {
  switch (desc.fieldKind) {
    case 'scalar':
      return singular(scalarPrinter(desc.scalar, desc.utf8Validation));
    case 'enum':
      return singular(enumPrinter(desc.enum, printers.options.enumNumbers));
    case 'message':
      return messagePrinter(desc, printers);
    case 'list':
      return listPrinter(desc, printers);
    case 'map':
      return mapPrinter(desc, printers);
  }
}

function singular(print: ValuePrinter): OccurrencePrinter {
  return (m, out, occurrence) => print(m, out, m.start(occurrence), m.end(occurrence));
}

function messagePrinter(desc: AnyField & { fieldKind: 'message' }, printers: MessagePrinters): OccurrencePrinter {
  const { message } = desc;
  const isMask = message.typeName === fieldMask && desc.kind === 'field';
  const printer = isMask ? fieldMaskPrinter(message, maskNamesIn(desc.parent)) : printers.of(message);
  return (m, out, occurrence) => {
    m.descend();
    if (m.next(occurrence) === 0) {
      printer.print(m, out, m.start(occurrence), m.end(occurrence));
    } else {
      const { start, end, outer } = m.merged(occurrence);
      printer.print(m, out, start, end);
      m.buf = outer;
    }
    m.ascend();
  };
}

function listPrinter(desc: AnyField & { fieldKind: 'list' }, printers: MessagePrinters): OccurrencePrinter {
  if (desc.listKind === 'message') {
    const printer = printers.of(desc.message);
    const print: ValuePrinter = (m, out, start, end) => {
      m.descend();
      printer.print(m, out, start, end);
      m.ascend();
    };
    return printItems(print, undefined);
  }
  if (desc.listKind === 'enum') {
    const print = enumPrinter(desc.enum, printers.options.enumNumbers);
    if (desc.enum.open) return printItems(print, 0);
    const declared = new Set(desc.enum.values.map((value) => value.number));
    return printItems(print, 0, (m, start, end) => declared.has(m.varint32(start, end) | 0));
  }
  const isPackable = desc.scalar !== ScalarType.STRING && desc.scalar !== ScalarType.BYTES;
  return printItems(
    scalarPrinter(desc.scalar, desc.utf8Validation),
    isPackable ? packedSizes[wireType(desc.scalar)] : undefined,
  );
}

/** Bytes of an item in a packed list by wire type; 0 is a varint. */
const packedSizes: Readonly<Record<number, number>> = { 0: 0, 1: 8, 5: 4 };

function printItems(
  print: ValuePrinter,
  packedSize: number | undefined,
  accepts?: (m: WireMessage, start: number, end: number) => boolean,
): OccurrencePrinter {
  const printPacked = (m: WireMessage, out: JsonWriter, start: number, end: number, isFirst: boolean): boolean => {
    for (let pos = start; pos < end;) {
      let after = pos + packedSize!;
      if (packedSize === 0) {
        m.varint32(pos, end);
        after = m.after;
      } else if (after > end) {
        invalidMessage('a packed list is cut');
      }
      if (!accepts || accepts(m, pos, end)) {
        if (!isFirst) out.byte(0x2c);
        print(m, out, pos, after);
        isFirst = false;
      }
      pos = after;
    }
    return isFirst;
  };
  return (m, out, first) => {
    out.byte(0x5b);
    let isFirst = true;
    for (let at = first; at !== 0; at = m.next(at)) {
      const start = m.start(at);
      const end = m.end(at);
      if (packedSize !== undefined && m.wireType(at) === 2) {
        isFirst = printPacked(m, out, start, end, isFirst);
      } else {
        if (!isFirst) out.byte(0x2c);
        print(m, out, start, end);
        isFirst = false;
      }
    }
    out.byte(0x5d);
  };
}
