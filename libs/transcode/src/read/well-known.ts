import type { DescMessage } from '@bufbuild/protobuf';
import { isWrapperDesc } from '@bufbuild/protobuf/wkt';
import { shorten } from '../errors.js';
import type { ProtoWriter } from '../wire/proto-writer.js';
import { anyReader } from './any-reader.js';
import { compileFieldReader } from './field-reader.js';
import type { JsonScanner } from './json-scanner.js';
import type { MessageReader, MessageReaders } from './message-reader.js';
import { NameSet } from './name-set.js';
import { readFiniteDouble, writeText } from './scalar.js';
import { anyMaskNames } from '../mapping/field-mask.js';
import type { MaskNames } from '../mapping/field-mask.js';
import { parseDuration, parseTimestamp } from '../mapping/time.js';

/** The reader of a well-known type with a JSON form of its own; `undefined` for other messages. */
export function wellKnownReader(desc: DescMessage, readers: MessageReaders): MessageReader | undefined {
  switch (desc.typeName) {
    case 'google.protobuf.Any':
      return anyReader(readers);
    case 'google.protobuf.Timestamp':
      return { readsNull: false, read: readTimestamp };
    case 'google.protobuf.Duration':
      return { readsNull: false, read: readDuration };
    case 'google.protobuf.FieldMask':
      return fieldMaskReader(anyMaskNames);
    case 'google.protobuf.Struct':
      return { readsNull: false, read: readStruct };
    case 'google.protobuf.ListValue':
      return { readsNull: false, read: readList };
    case 'google.protobuf.Value':
      return { readsNull: true, read: readValue };
    default:
      return isWrapperDesc(desc) ? compileFieldReader(desc.fields[0]!, readers) : undefined;
  }
}

function readTimestamp(s: JsonScanner, w: ProtoWriter): void {
  s.peek();
  const at = s.pos;
  s.string();
  const time = parseTimestamp(s.text());
  if (!time) s.fail('INVALID_VALUE', `not an RFC 3339 time: "${shorten(s.text())}"`, at);
  writeTime(w, time);
}

function readDuration(s: JsonScanner, w: ProtoWriter): void {
  s.peek();
  const at = s.pos;
  s.string();
  const time = parseDuration(s.text());
  if (!time) s.fail('INVALID_VALUE', `not a duration such as "1.5s": "${shorten(s.text())}"`, at);
  writeTime(w, time);
}

function writeTime(w: ProtoWriter, { seconds, nanos }: { seconds: number; nanos: number }): void {
  if (seconds !== 0) {
    w.varint32(0x08);
    w.int64(seconds);
  }
  if (nanos !== 0) {
    w.varint32(0x10);
    w.int32(nanos);
  }
}

/** @param names of the fields that the mask may speak of */
export function fieldMaskReader(names: MaskNames): MessageReader {
  return {
    readsNull: false,
    read: (s, w) => {
      s.peek();
      const at = s.pos;
      s.string();
      const text = s.text();
      if (text === '') return;
      for (const json of text.split(',')) {
        const path = names.toProto(json);
        if (path === undefined) return s.fail('INVALID_VALUE', `not a path in lowerCamelCase: "${shorten(json)}"`, at);
        w.varint32(0x0a);
        w.string(path);
      }
    },
  };
}

function readStruct(s: JsonScanner, w: ProtoWriter): void {
  if (!s.enter(0x7b)) return;
  // An entry, and the Value in it.
  s.descend(2);
  const names = new NameSet();
  do {
    s.peek();
    const at = s.pos;
    s.name();
    if (names.addLast(s)) s.fail('DUPLICATE_FIELD', `"${shorten(s.text())}" occurs twice`, at, s.pos);
    w.varint32(0x0a);
    const entry = w.open();
    w.varint32(0x0a);
    writeText(s, w);
    w.varint32(0x12);
    const value = w.open();
    readValue(s, w);
    w.close(value);
    w.close(entry);
  } while (s.next(0x7d));
  s.ascend(2);
}

function readList(s: JsonScanner, w: ProtoWriter): void {
  if (!s.enter(0x5b)) return;
  s.descend(1);
  do {
    w.varint32(0x0a);
    const value = w.open();
    readValue(s, w);
    w.close(value);
  } while (s.next(0x5d));
  s.ascend(1);
}

/** The kinds of `google.protobuf.Value` are members of a oneof: they are written even when they are zero. */
function readValue(s: JsonScanner, w: ProtoWriter): void {
  switch (s.peek()) {
    case 0x6e:
      s.literal('null');
      w.varint32(0x08);
      return w.varint32(0);
    case 0x74:
      s.literal('true');
      w.varint32(0x20);
      return w.varint32(1);
    case 0x66:
      s.literal('false');
      w.varint32(0x20);
      return w.varint32(0);
    case 0x22:
      s.string();
      w.varint32(0x1a);
      return writeText(s, w);
    case 0x7b:
      return nested(s, w, 0x2a, readStruct);
    case 0x5b:
      return nested(s, w, 0x32, readList);
    default:
      w.varint32(0x11);
      return w.double(readFiniteDouble(s));
  }
}

function nested(s: JsonScanner, w: ProtoWriter, tag: number, read: (s: JsonScanner, w: ProtoWriter) => void): void {
  w.varint32(tag);
  const start = w.open();
  s.descend(1);
  read(s, w);
  s.ascend(1);
  w.close(start);
}
