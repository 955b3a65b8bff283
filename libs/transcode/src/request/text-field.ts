import type { DescEnum, DescField, DescMessage } from '@bufbuild/protobuf';
import { ScalarType } from '@bufbuild/protobuf';
import { isWrapperDesc } from '@bufbuild/protobuf/wkt';
import { TranscodeError, shorten } from '../errors.js';
import { fieldMask, maskNamesIn } from '../mapping/field-mask.js';
import { tagOf, wireType } from '../mapping/tag.js';
import { JsonScanner } from '../read/json-scanner.js';
import { keyWriter } from '../read/map-reader.js';
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
 * @param intoKnown whether the path may lead into well-known types, as `since.seconds` and `mask.paths` do; never into an Any
 * @throws UnboundPath that says which name is wrong
 */
export function resolveFields(message: DescMessage, names: readonly string[], intoKnown = false): DescField[] {
  const fields: DescField[] = [];
  let desc: DescMessage | undefined = message;
  for (const name of names) {
    const isClosed = !desc || (intoKnown ? desc.typeName === 'google.protobuf.Any' : hasOwnJsonForm(desc));
    if (isClosed) throw new UnboundPath(`"${shorten(fields.at(-1)?.name ?? '')}" has no fields`);
    const field: DescField | undefined = fieldByName(desc!, name);
    if (!field) throw new UnboundPath(`${desc!.typeName} has no field "${shorten(name)}"`);
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
 * Compiles the field at the end of a path for values given as text. A mask is set path by path, so that several parameters can
 * make one: `mask=a,b`, `mask=a&mask=b` and `mask.paths=a` are alike.
 * @param output of the method, which masks may speak of
 * @throws UnboundPath when the field has no text form
 */
export function textField(path: readonly DescField[], readers: MessageReaders, output?: DescMessage): TextField {
  const leaf = path.at(-1)!;
  const mask = leaf.fieldKind === 'message' && leaf.message.typeName === fieldMask ? leaf : undefined;
  if (mask) return { path: [...path, mask.message.field['paths']!], write: pathsWriter(mask, output) };
  const above = path.at(-2);
  if (above?.fieldKind === 'message' && above.message.typeName === fieldMask) {
    return { path, write: pathsWriter(above, output) };
  }
  if (leaf.fieldKind === 'map')
    throw new UnboundPath(`"${leaf.name}" is a map; its values are set as ${leaf.name}[key]`);
  return { path, write: textWriter(leaf, readers) };
}

/**
 * Compiles the map at the end of a path for the values of its keys.
 * @throws UnboundPath when it is no map, or its values have no text form
 */
export function textMap(path: readonly DescField[], readers: MessageReaders): (key: string) => TextField {
  const map = path.at(-1)!;
  if (map.fieldKind !== 'map') throw new UnboundPath(`"${map.name}" is no map`);
  const writeKey = keyWriter(map.mapKey);
  const writeValue = textWriter(map, readers);
  const tag = tagOf(map.number, 2);
  const keyTag = tagOf(1, wireType(map.mapKey));
  return (key) => ({
    path,
    key,
    write: (w, text) => {
      w.varint32(tag);
      const start = w.open();
      w.varint32(keyTag);
      scanner.reset(Buffer.from(quoted(key)), depthMax);
      scanner.string();
      writeKey(scanner, w, 0);
      scanner.release();
      writeValue(w, text);
      w.close(start);
    },
  });
}

/** @param desc of a list its items are written, of a map the value of an entry */
function textWriter(desc: DescField, readers: MessageReaders): TextWriter {
  const number = desc.fieldKind === 'map' ? 2 : desc.number;
  if (desc.enum) return enumWriter(number, desc.enum);
  if (desc.message) return messageWriter(number, desc.message, readers);
  return scalarWriter(number, desc.scalar!);
}

/** Paths of a mask, separated by commas, in either spelling. */
function pathsWriter(mask: DescField, output: DescMessage | undefined): TextWriter {
  const names = maskNamesIn(mask.parent, output);
  return (w, text) => {
    if (text === '') return;
    for (const one of text.split(',')) {
      const path = names.textToProto(one);
      if (path === undefined) throw new TranscodeError('INVALID_VALUE', `not a path of fields: "${shorten(one)}"`);
      w.varint32(0x0a);
      w.string(path);
    }
  };
}

const scanner = new JsonScanner();
/** Less than for bodies, since the field may itself be within other messages. */
const depthMax = 68;

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
  return reading(tagOf(number, 0), enumReader(desc, false), (text) => (/^-?[0-9]+$/.test(text) ? text : quoted(text)));
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
