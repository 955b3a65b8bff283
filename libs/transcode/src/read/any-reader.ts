import { shorten } from '../errors.js';
import type { ProtoWriter } from '../wire/proto-writer.js';
import type { JsonScanner } from './json-scanner.js';
import { ObjectReader } from './message-reader.js';
import type { MessageReader, MessageReaders } from './message-reader.js';

/**
 * `google.protobuf.Any`: an object with the type in `@type` and the fields of the message beside it, or the JSON form of
 * a well-known type in `value`. The type must be in the descriptor set.
 */
export function anyReader(readers: MessageReaders): MessageReader {
  return { readsNull: false, read: (s, w) => readAny(s, w, readers) };
}

function readAny(s: JsonScanner, w: ProtoWriter, readers: MessageReaders): void {
  if (s.peek() !== 0x7b) s.unexpected('an object');
  const url = findType(s);
  if (url === undefined) return;
  const slash = url.lastIndexOf('/');
  const desc = slash < 0 ? undefined : readers.registry.getMessage(url.slice(slash + 1));
  if (!desc) s.fail('INVALID_VALUE', `"@type" names no known message: "${shorten(url)}"`);
  const reader = readers.of(desc);
  w.varint32(0x0a);
  w.string(url);
  const before = w.pos;
  w.varint32(0x12);
  const start = w.open();
  s.descend(1);
  if (reader instanceof ObjectReader && desc.typeName !== empty) reader.readMembers(s, w, undefined, true);
  else readInValue(s, w, reader, desc.typeName, readers.ignoreUnknown);
  s.ascend(1);
  if (w.pos === start) w.pos = before;
  else w.close(start);
}

/** Looks ahead for `@type`, wherever it stands in the object. @returns `undefined` for an empty object, which is consumed */
function findType(s: JsonScanner): string | undefined {
  const at = s.pos;
  if (!s.enter(0x7b)) return undefined;
  do {
    s.name();
    if (s.text() === '@type') {
      s.string();
      const url = s.text();
      s.pos = at;
      return url;
    }
    s.skipValue();
  } while (s.next(0x7d));
  return s.fail('INVALID_VALUE', '"@type" is missing', at);
}

/** Some implementations take it for a type with a JSON form of its own and write `"value": {}`, others write nothing. */
const empty = 'google.protobuf.Empty';

function readInValue(
  s: JsonScanner,
  w: ProtoWriter,
  reader: MessageReader,
  typeName: string,
  ignoreUnknown: boolean,
): void {
  const seen = new Set<string>();
  s.enter(0x7b);
  do {
    s.peek();
    const at = s.pos;
    s.name();
    const name = s.text();
    if (seen.has(name)) s.fail('DUPLICATE_FIELD', `"${shorten(name)}" occurs twice`, at, s.pos);
    seen.add(name);
    if (name === '@type') {
      s.string();
    } else if (name === 'value') {
      if (!reader.readsNull && s.peek() === 0x6e) s.unexpected(`the JSON form of ${typeName}`);
      reader.read(s, w);
    } else if (ignoreUnknown) {
      s.discard();
    } else {
      s.fail('UNKNOWN_FIELD', `google.protobuf.Any of ${typeName} has only "@type" and "value"`, at, s.pos);
    }
  } while (s.next(0x7d));
  if (!seen.has('value') && typeName !== empty) s.fail('INVALID_VALUE', `"value" of ${typeName} is missing`);
}
