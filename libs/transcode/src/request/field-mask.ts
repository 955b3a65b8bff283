import type { DescField, DescMessage } from '@bufbuild/protobuf';
import type { Overlay } from '../read/overlay.js';
import { hasOwnJsonForm } from '../mapping/field.js';
import type { ProtoWriter } from '../wire/proto-writer.js';
import { tagOf } from '../mapping/tag.js';

/** The field of a PATCH request that says which fields to change: its only one of type FieldMask. */
export function maskField(input: DescMessage): DescField | undefined {
  const masks = input.fields.filter(
    (field) => field.fieldKind === 'message' && field.message.typeName === 'google.protobuf.FieldMask',
  );
  return masks.length === 1 ? masks[0] : undefined;
}

/**
 * Writes the mask of the fields that a body sets, unless the query gave one. Lists, maps and well-known types are
 * named as a whole; a field that is null is named, so that it is cleared.
 * @param body JSON that has been read already, so it is well-formed and has no member twice
 */
export function writeInferredMask(
  w: ProtoWriter,
  mask: DescField,
  message: DescMessage,
  body: Uint8Array,
  overlay: Overlay | undefined,
): void {
  const given = overlay?.leaves.find((leaf) => leaf.field.path[0] === mask);
  if (given && given.text !== '') return;
  const value: unknown = JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString());
  const paths = pathsOf(message, value, '');
  if (paths.length === 0) return;
  w.varint32(tagOf(mask.number, 2));
  const start = w.open();
  for (const path of paths) {
    w.varint32(0x0a);
    w.string(path);
  }
  w.close(start);
}

function pathsOf(message: DescMessage, value: unknown, prefix: string): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, member]: [string, unknown]) => {
    const field = message.fields.find((one) => one.jsonName === name || one.name === name);
    if (!field) return [];
    const path = prefix + field.name;
    if (field.fieldKind !== 'message' || hasOwnJsonForm(field.message)) return [path];
    const inner = pathsOf(field.message, member, `${path}.`);
    return inner.length > 0 ? inner : [path];
  });
}
