import type { DescExtension, DescField } from '@bufbuild/protobuf';
import type { ProtoWriter } from '../wire/proto-writer.js';
import { implicitPresence, nullEnum } from '../mapping/field.js';
import { fieldMask, maskNamesIn } from '../mapping/field-mask.js';
import { tagOf, wireType } from '../mapping/tag.js';
import type { JsonScanner } from './json-scanner.js';
import { mapReader } from './map-reader.js';
import type { MessageReaders } from './message-reader.js';
import type { Overlay } from './overlay.js';
import { enumReader, scalarReader } from './scalar.js';
import type { ValueReader } from './scalar.js';
import { fieldMaskReader } from './well-known.js';

/** Reads the JSON value of a field and writes the field with its tags. */
export interface FieldReader {
  readonly readsNull: boolean;
  readonly read: (s: JsonScanner, w: ProtoWriter, overlay?: Overlay) => void | false;
}

export function compileFieldReader(desc: DescField | DescExtension, readers: MessageReaders): FieldReader {
  switch (desc.fieldKind) {
    case 'scalar': {
      const type = wireType(desc.scalar);
      return singular(desc, tagOf(desc.number, type), scalarReader(desc.scalar), [1, 8, 1, 0, 0, 4][type]!);
    }
    case 'enum': {
      const field = singular(desc, tagOf(desc.number, 0), enumReader(desc.enum, readers.ignoreUnknown), 1);
      return { ...field, readsNull: desc.enum.typeName === nullEnum };
    }
    case 'message':
      return messageField(desc, readers);
    case 'list':
      return listField(desc, readers);
    case 'map':
      return { readsNull: false, read: mapReader(desc, readers) };
  }
}

/** @param zeroBytes how many zero bytes a default value is written as */
function singular(desc: DescField | DescExtension, tag: number, value: ValueReader, zeroBytes: number): FieldReader {
  if (desc.presence !== implicitPresence) {
    return {
      readsNull: false,
      read: (s, w) => {
        const before = w.pos;
        w.varint32(tag);
        if (value(s, w) === false) w.pos = before;
      },
    };
  }
  return {
    readsNull: false,
    read: (s, w) => {
      const before = w.pos;
      w.varint32(tag);
      const from = w.pos;
      if (value(s, w) === false || (w.buf[from] === 0 && isZero(w, from, zeroBytes))) w.pos = before;
    },
  };
}

/** A varint or length that begins with a zero byte is zero; fixed-width values are compared whole. */
function isZero(w: ProtoWriter, from: number, count: number): boolean {
  for (let i = from + 1; i < from + count; i++) if (w.buf[i] !== 0) return false;
  return true;
}

function messageField(
  desc: (DescField | DescExtension) & { fieldKind: 'message' },
  readers: MessageReaders,
): FieldReader {
  const isMask = desc.message.typeName === fieldMask && desc.kind === 'field';
  const reader = isMask ? fieldMaskReader(maskNamesIn(desc.parent)) : readers.of(desc.message);
  if (desc.delimitedEncoding) {
    const open = tagOf(desc.number, 3);
    const close = tagOf(desc.number, 4);
    return {
      readsNull: reader.readsNull,
      read: (s, w, overlay) => {
        w.varint32(open);
        s.descend(1);
        reader.read(s, w, overlay);
        s.ascend(1);
        w.varint32(close);
      },
    };
  }
  const tag = tagOf(desc.number, 2);
  return {
    readsNull: reader.readsNull,
    read: (s, w, overlay) => {
      w.varint32(tag);
      const start = w.open();
      s.descend(1);
      reader.read(s, w, overlay);
      s.ascend(1);
      w.close(start);
    },
  };
}

function listField(desc: (DescField | DescExtension) & { fieldKind: 'list' }, readers: MessageReaders): FieldReader {
  const item = itemReader(desc, readers);
  if (!desc.packed) return { readsNull: false, read: (s, w) => readItems(s, w, item.read, item.readsNull) };
  const tag = tagOf(desc.number, 2);
  return {
    readsNull: false,
    read: (s, w) => {
      const before = w.pos;
      w.varint32(tag);
      const start = w.open();
      readItems(s, w, item.read, item.readsNull);
      if (w.pos === start) w.pos = before;
      else w.close(start);
    },
  };
}

function readItems(s: JsonScanner, w: ProtoWriter, read: ValueReader, readsNull: boolean): void {
  if (!s.enter(0x5b)) return;
  do {
    if (!readsNull && s.peek() === 0x6e) s.unexpected('a list item');
    read(s, w);
  } while (s.next(0x5d));
}

/** Items with their tags, or without when the list is packed. */
function itemReader(desc: (DescField | DescExtension) & { fieldKind: 'list' }, readers: MessageReaders): FieldReader {
  if (desc.listKind === 'message') {
    const reader = readers.of(desc.message);
    const open = tagOf(desc.number, desc.delimitedEncoding ? 3 : 2);
    const close = tagOf(desc.number, 4);
    const read: ValueReader = desc.delimitedEncoding
      ? (s, w) => {
          w.varint32(open);
          s.descend(1);
          reader.read(s, w);
          s.ascend(1);
          w.varint32(close);
        }
      : (s, w) => {
          w.varint32(open);
          const start = w.open();
          s.descend(1);
          reader.read(s, w);
          s.ascend(1);
          w.close(start);
        };
    return { readsNull: reader.readsNull, read };
  }
  const value = desc.listKind === 'enum' ? enumReader(desc.enum, readers.ignoreUnknown) : scalarReader(desc.scalar);
  const readsNull = desc.listKind === 'enum' && desc.enum.typeName === nullEnum;
  if (desc.packed) return { readsNull, read: value };
  const tag = tagOf(desc.number, desc.listKind === 'enum' ? 0 : wireType(desc.scalar));
  return {
    readsNull,
    read: (s, w) => {
      const before = w.pos;
      w.varint32(tag);
      if (value(s, w) === false) w.pos = before;
    },
  };
}
