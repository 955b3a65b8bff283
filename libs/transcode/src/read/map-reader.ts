import { ScalarType } from '@bufbuild/protobuf';
import type { DescField } from '@bufbuild/protobuf';
import { shorten } from '../errors.js';
import type { ProtoWriter } from '../wire/proto-writer.js';
import { nullEnum } from '../mapping/field.js';
import { tagOf, wireType } from '../mapping/tag.js';
import type { JsonScanner } from './json-scanner.js';
import type { MessageReaders } from './message-reader.js';
import { NameSet } from './name-set.js';
import { integerRange, wholeNumber } from './number.js';
import { enumReader, integerWriter, scalarReader, writeText } from './scalar.js';
import type { ValueReader } from './scalar.js';

type MapField = DescField & { fieldKind: 'map' };

/** Map fields: a JSON object with the keys as names. Each entry is a message of key (1) and value (2). */
export function mapReader(desc: MapField, readers: MessageReaders): ValueReader {
  const tag = tagOf(desc.number, 2);
  const keyTag = tagOf(1, wireType(desc.mapKey));
  const writeKey = keyWriter(desc.mapKey);
  const { tag: valueTag, read, readsNull } = valueOf(desc, readers);
  return (s, w) => {
    if (!s.enter(0x7b)) return;
    s.descend(1);
    const keys = new NameSet();
    do {
      s.peek();
      const at = s.pos;
      s.name();
      const before = w.pos;
      w.varint32(tag);
      const start = w.open();
      w.varint32(keyTag);
      writeKey(s, w, at);
      if (keys.addLast(s)) s.fail('DUPLICATE_FIELD', `key "${shorten(s.text())}" occurs twice`, at, s.pos);
      if (!readsNull && s.peek() === 0x6e) s.unexpected('a map value');
      w.varint32(valueTag);
      if (read(s, w) === false) w.pos = before;
      else w.close(start);
    } while (s.next(0x7d));
    s.ascend(1);
  };
}

function valueOf(desc: MapField, readers: MessageReaders): { tag: number; read: ValueReader; readsNull: boolean } {
  switch (desc.mapKind) {
    case 'scalar':
      return { tag: tagOf(2, wireType(desc.scalar)), read: scalarReader(desc.scalar), readsNull: false };
    case 'enum':
      return {
        tag: tagOf(2, 0),
        read: enumReader(desc.enum, readers.ignoreUnknown),
        readsNull: desc.enum.typeName === nullEnum,
      };
    case 'message': {
      const reader = readers.of(desc.message);
      return {
        tag: tagOf(2, 2),
        read: (s, w) => {
          const start = w.open();
          s.descend(1);
          reader.read(s, w);
          s.ascend(1);
          w.close(start);
        },
        readsNull: reader.readsNull,
      };
    }
  }
}

/** Writes the scanner's last name as a key. Keys are equal only when their names are: numbers have one spelling. */
export type KeyWriter = (s: JsonScanner, w: ProtoWriter, at: number) => void;

export function keyWriter(type: ScalarType): KeyWriter {
  if (type === ScalarType.STRING) {
    return (s, w) => {
      writeText(s, w);
    };
  }
  if (type === ScalarType.BOOL) {
    return (s, w, at) => {
      const text = s.text();
      if (text !== 'true' && text !== 'false') s.fail('INVALID_VALUE', 'the key is not true or false', at, s.pos);
      w.varint32(text === 'true' ? 1 : 0);
    };
  }
  const [min, max] = integerRange[type]!;
  const write = integerWriter(type);
  return (s, w, at) => {
    const text = s.text();
    const value = /^(0|-?[1-9][0-9]*)$/.test(text) ? wholeNumber(Buffer.from(text), 0, text.length, true) : NaN;
    if (!(value >= min && value <= max)) {
      s.fail('INVALID_VALUE', `the key is not of type ${ScalarType[type].toLowerCase()}`, at, s.pos);
    }
    write(w, value);
  };
}
