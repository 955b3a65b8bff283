import { ScalarType } from '@bufbuild/protobuf';
import type { DescMessage } from '@bufbuild/protobuf';
import { isWrapperDesc } from '@bufbuild/protobuf/wkt';
import { anyMaskNames } from '../mapping/field-mask.js';
import type { MaskNames } from '../mapping/field-mask.js';
import { durationSecondsMax, formatSeconds, timestampSecondsMax, timestampSecondsMin } from '../mapping/time.js';
import type { Time } from '../mapping/time.js';
import { fieldIndex } from './field-index.js';
import { compileFieldPrinter } from './field-printer.js';
import type { FieldPrinter } from './field-printer.js';
import type { JsonWriter } from './json-writer.js';
import { ObjectPrinter } from './message-printer.js';
import type { MessagePrinter, MessagePrinters } from './message-printer.js';
import { printFiniteDouble, scalarPrinter } from './scalar.js';
import { invalidMessage } from './wire-message.js';
import type { FieldIndex, WireMessage } from './wire-message.js';

/** Prints from the frame of a message, whose positions are in the order of the field numbers. */
type FramePrinter = (m: WireMessage, out: JsonWriter, frame: number) => void;

/** The printer of a well-known type with a JSON form of its own; `undefined` for other messages. */
export function wellKnownPrinter(desc: DescMessage, printers: MessagePrinters): MessagePrinter | undefined {
  switch (desc.typeName) {
    case 'google.protobuf.Any':
      return framed(desc, anyPrinter(printers));
    case 'google.protobuf.Timestamp':
      return framed(desc, printTimestamp);
    case 'google.protobuf.Duration':
      return framed(desc, printDuration);
    case 'google.protobuf.FieldMask':
      return fieldMaskPrinter(desc, anyMaskNames);
    case 'google.protobuf.Value':
      return valuePrinter(desc, printers);
    case 'google.protobuf.Struct':
    case 'google.protobuf.ListValue':
      return framed(desc, onlyField(desc, printers));
    default:
      return isWrapperDesc(desc) ? framed(desc, onlyField(desc, printers)) : undefined;
  }
}

function framed(desc: DescMessage, print: FramePrinter): MessagePrinter {
  let index: FieldIndex | undefined;
  return {
    print: (m, out, start, end) => {
      index ??= fieldIndex(sorted(desc));
      const frame = m.enter(index, start, end);
      print(m, out, frame);
      m.leave(frame);
    },
  };
}

function sorted(desc: DescMessage): DescMessage['fields'] {
  return [...desc.fields].sort((a, b) => a.number - b.number);
}

/** Struct, ListValue and the wrappers print as the value of their only field. */
function onlyField(desc: DescMessage, printers: MessagePrinters): FramePrinter {
  let field: FieldPrinter | undefined;
  return (m, out, frame) => {
    field ??= compileFieldPrinter(desc.fields[0]!, printers);
    const at = m.first(frame, 0);
    if (at === 0) out.ascii(field.absentValue);
    else field.print(m, out, at);
  };
}

/** A Value without a kind prints as null, which is what it is read as where it matters. */
function valuePrinter(desc: DescMessage, printers: MessagePrinters): MessagePrinter {
  const index = fieldIndex(sorted(desc));
  const struct = printers.of(desc.fields.find((field) => field.name === 'struct_value')!.message!);
  const list = printers.of(desc.fields.find((field) => field.name === 'list_value')!.message!);
  const printBool = scalarPrinter(ScalarType.BOOL, true);

  /** @param number of the field that is set */
  const printKind = (m: WireMessage, out: JsonWriter, number: number, start: number, end: number): void => {
    switch (number) {
      case 2:
        return printFiniteDouble(m, out, start);
      case 3:
        return out.utf8(m.buf, start, end, true);
      case 4:
        return printBool(m, out, start, end);
      case 5:
      case 6:
        m.descend();
        (number === 5 ? struct : list).print(m, out, start, end);
        return m.ascend();
      default:
        return out.ascii('null');
    }
  };
  return {
    print: (m, out, start, end) => {
      // Almost always the only field is there once: then no index of it is needed.
      const number = m.onlyField(index, start, end);
      if (number > 0) return printKind(m, out, number, m.contentStart, m.contentEnd);
      const frame = m.enter(index, start, end);
      for (let position = 0; position < index.count; position++) {
        const at = m.first(frame, position);
        if (at === 0) continue;
        const field = m.merged(at);
        printKind(m, out, position + 1, field.start, field.end);
        m.buf = field.outer;
        return m.leave(frame);
      }
      m.leave(frame);
      return out.ascii('null');
    },
  };
}

function anyPrinter(printers: MessagePrinters): FramePrinter {
  return (m, out, frame) => {
    const urlAt = m.first(frame, 0);
    const url = urlAt === 0 ? '' : m.buf.toString('utf8', m.start(urlAt), m.end(urlAt));
    if (url === '') return out.ascii('{}');
    const desc = printers.registry.getMessage(url.slice(url.lastIndexOf('/') + 1));
    if (!desc) return invalidMessage(`google.protobuf.Any holds the unknown type ${url.slice(0, 100)}`);
    const printer = printers.of(desc);
    const valueAt = m.first(frame, 1);
    const start = valueAt === 0 ? 0 : m.start(valueAt);
    const end = valueAt === 0 ? 0 : m.end(valueAt);
    out.ascii('{"@type":');
    out.string(url);
    m.descend();
    if (printer instanceof ObjectPrinter) {
      printer.printMembers(m, out, start, end, false);
    } else {
      out.ascii(',"value":');
      printer.print(m, out, start, end);
    }
    m.ascend();
    return out.byte(0x7d);
  };
}

/** Fields 1 and 2 of Timestamp and Duration. Seconds beyond 2^53 are out of range of both, so a double will do. */
function timeOf(m: WireMessage, frame: number): Time {
  const secondsAt = m.first(frame, 0);
  const nanosAt = m.first(frame, 1);
  const low = secondsAt === 0 ? 0 : m.varint64(m.start(secondsAt), m.end(secondsAt));
  const high = secondsAt === 0 ? 0 : m.high | 0;
  return {
    seconds: high * 0x100000000 + low,
    nanos: nanosAt === 0 ? 0 : m.varint32(m.start(nanosAt), m.end(nanosAt)) | 0,
  };
}

function printTimestamp(m: WireMessage, out: JsonWriter, frame: number): void {
  const { seconds, nanos } = timeOf(m, frame);
  if (seconds < timestampSecondsMin || seconds > timestampSecondsMax || nanos < 0 || nanos > 999_999_999) {
    invalidMessage('google.protobuf.Timestamp is out of range');
  }
  out.quotedAscii(`${formatSeconds(seconds)}${fractionOf(nanos)}Z`);
}

function printDuration(m: WireMessage, out: JsonWriter, frame: number): void {
  const { seconds, nanos } = timeOf(m, frame);
  const isNegative = seconds < 0 || nanos < 0;
  if (Math.abs(seconds) > durationSecondsMax || Math.abs(nanos) > 999_999_999) {
    invalidMessage('google.protobuf.Duration is out of range');
  }
  if (isNegative && (seconds > 0 || nanos > 0)) invalidMessage('google.protobuf.Duration has two signs');
  out.quotedAscii(`${isNegative ? '-' : ''}${Math.abs(seconds)}${fractionOf(Math.abs(nanos))}s`);
}

/** Nothing, or a point and 3, 6 or 9 digits. */
function fractionOf(nanos: number): string {
  if (nanos === 0) return '';
  const digits = String(nanos).padStart(9, '0');
  if (digits.endsWith('000000')) return `.${digits.slice(0, 3)}`;
  return digits.endsWith('000') ? `.${digits.slice(0, 6)}` : `.${digits}`;
}

/** @param names of the fields that the mask may speak of */
export function fieldMaskPrinter(desc: DescMessage, names: MaskNames): MessagePrinter {
  return framed(desc, (m, out, frame) => {
    const texts: string[] = [];
    for (let at = m.first(frame, 0); at !== 0; at = m.next(at)) {
      const path = m.buf.toString('utf8', m.start(at), m.end(at));
      const text = names.toJson(path);
      if (text === undefined) {
        invalidMessage(`the path "${path.slice(0, 100)}" of google.protobuf.FieldMask has no lowerCamelCase`);
      }
      texts.push(text);
    }
    out.string(texts.join(','));
  });
}
