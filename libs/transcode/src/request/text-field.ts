import type { DescEnum, DescField, DescMessage } from '@bufbuild/protobuf';
import { ScalarType } from '@bufbuild/protobuf';
import { isWrapperDesc } from '@bufbuild/protobuf/wkt';
import { TranscodeError, shorten } from '../errors.js';
import { tagOf, wireType } from '../mapping/tag.js';
import { JsonScanner } from '../read/json-scanner.js';
import type { MessageReaders } from '../read/message-reader.js';
import type { TextField } from '../read/overlay.js';
import { enumReader, scalarReader } from '../read/scalar.js';
import type { ValueReader } from '../read/scalar.js';
import { hasOwnJsonForm } from '../mapping/field.js';
import type { ProtoWriter } from '../wire/proto-writer.js';

/** Writes a field with its tag from the text of a path variable, a query parameter or a form field. */
type TextWriter = (w: ProtoWriter, text: string) => void;

/** Why a field path cannot be bound to text. */
export class UnboundPath extends Error {}

/**
 * Finds the fields along a path of JSON or proto names.
 * @throws UnboundPath that says which name is wrong
 */
export function resolveFields(message: DescMessage, names: readonly string[]): DescField[] {
  const fields: DescField[] = [];
  let desc: DescMessage | undefined = message;
  for (const name of names) {
    if (!desc || hasOwnJsonForm(desc)) throw new UnboundPath(`"${shorten(fields.at(-1)?.name ?? '')}" has no fields`);
    const field: DescField | undefined = fieldByName(desc, name);
    if (!field) throw new UnboundPath(`${desc.typeName} has no field "${shorten(name)}"`);
    fields.push(field);
    desc = field.fieldKind === 'message' ? field.message : undefined;
  }
  return fields;
}

const byName = new WeakMap<DescMessage, Map<string, DescField>>();

function fieldByName(desc: DescMessage, name: string): DescField | undefined {
  let names = byName.get(desc);
  if (!names) {
    names = new Map();
    for (const field of desc.fields) names.set(field.name, field);
    for (const field of desc.fields) names.set(field.jsonName, field);
    byName.set(desc, names);
  }
  return names.get(name);
}

/**
 * Compiles the field at the end of a path for values given as text.
 * @throws UnboundPath when the field has no text form
 */
export function textField(path: readonly DescField[], readers: MessageReaders): TextField {
  const leaf = path.at(-1)!;
  return { path, write: textWriter(leaf, readers) };
}

function textWriter(desc: DescField, readers: MessageReaders): TextWriter {
  switch (desc.fieldKind) {
    case 'scalar':
      return scalarWriter(desc.number, desc.scalar);
    case 'enum':
      return enumWriter(desc.number, desc.enum);
    case 'message':
      return messageWriter(desc.number, desc.message, readers);
    case 'list':
      if (desc.listKind === 'scalar') return scalarWriter(desc.number, desc.scalar);
      if (desc.listKind === 'enum') return enumWriter(desc.number, desc.enum);
      return messageWriter(desc.number, desc.message, readers);
    case 'map':
      throw new UnboundPath(`"${desc.name}" is a map, which has no text form`);
  }
}

const scanner = new JsonScanner();
const depthMax = 100;

/** Reads text as the JSON value it stands for. */
function reading(tag: number, read: ValueReader, toJson: (text: string) => string): TextWriter {
  return (w, text) => {
    w.varint32(tag);
    scanner.reset(Buffer.from(toJson(text)), depthMax);
    read(scanner, w);
    scanner.finish();
    scanner.release();
  };
}

const asIs = (text: string): string => text;
const quoted = (text: string): string => JSON.stringify(text);

function scalarWriter(number: number, type: ScalarType): TextWriter {
  const tag = tagOf(number, wireType(type));
  switch (type) {
    case ScalarType.STRING:
      return (w, text) => {
        w.varint32(tag);
        w.string(text);
      };
    case ScalarType.BOOL:
      return (w, text) => {
        if (text !== 'true' && text !== 'false') {
          throw new TranscodeError('INVALID_VALUE', `expected true or false, found "${shorten(text)}"`);
        }
        w.varint32(tag);
        w.varint32(text === 'true' ? 1 : 0);
      };
    default:
      // Numbers in quotes are read like bare ones, and bytes are base64.
      return reading(tag, scalarReader(type), quoted);
  }
}

function enumWriter(number: number, desc: DescEnum): TextWriter {
  return reading(tagOf(number, 0), enumReader(desc), (text) => (/^-?[0-9]+$/.test(text) ? text : quoted(text)));
}

function messageWriter(number: number, desc: DescMessage, readers: MessageReaders): TextWriter {
  const toJson = textForm(desc);
  if (!toJson) throw new UnboundPath(`"${desc.typeName}" is a message; its fields are set one by one`);
  const reader = readers.of(desc);
  return reading(
    tagOf(number, 2),
    (s, w) => {
      const start = w.open();
      reader.read(s, w);
      w.close(start);
    },
    toJson,
  );
}

/** How the text of a well-known type becomes its JSON form; `undefined` for messages that have none. */
function textForm(desc: DescMessage): ((text: string) => string) | undefined {
  switch (desc.typeName) {
    case 'google.protobuf.Timestamp':
    case 'google.protobuf.Duration':
      return quoted;
    case 'google.protobuf.FieldMask':
      // Paths are accepted as the proto file spells them, too.
      return (text) => quoted(text.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()));
    case 'google.protobuf.Struct':
    case 'google.protobuf.ListValue':
    case 'google.protobuf.Value':
      return asIs;
    case 'google.protobuf.BoolValue':
      return (text) => (text === 'true' || text === 'false' ? text : quoted(text));
    default:
      return isWrapperDesc(desc) ? quoted : undefined;
  }
}
