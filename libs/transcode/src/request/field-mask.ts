import type { DescField, DescMessage } from '@bufbuild/protobuf';
import type { Overlay, TextField } from '../read/overlay.js';
import { hasOwnJsonForm } from '../mapping/field.js';
import { fieldMask } from '../mapping/field-mask.js';
import type { ProtoWriter } from '../wire/proto-writer.js';
import { tagOf } from '../mapping/tag.js';

/** The field of a PATCH request that says which fields to change: its only one of type FieldMask. */
export function maskField(input: DescMessage): DescField | undefined {
  const masks = input.fields.filter((field) => field.fieldKind === 'message' && field.message.typeName === fieldMask);
  return masks.length === 1 ? masks[0] : undefined;
}

/**
 * Whether the query gave a mask with a path. One without is taken out of the overlay, for the mask of what the body sets to stand
 * in its place.
 */
export function takesMask(overlay: Overlay | undefined, mask: DescField): boolean {
  const given = overlay?.children?.get(mask.number);
  if (given === undefined) return false;
  if (given.overlay.leaves.some(({ text }) => text !== '')) return true;
  overlay!.children!.delete(mask.number);
  return false;
}

/**
 * The paths that a JSON body sets. Lists, maps and well-known types are named as a whole; a field that is null is named, so that it
 * is cleared.
 * @param body JSON that has been read already, so it is well-formed and has no member twice
 */
export function pathsOfJson(message: DescMessage, body: Uint8Array): string[] {
  return pathsOf(message, JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString()), '');
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

/**
 * The paths that the fields of a form set.
 * @param skipped how many fields lead to the message that the form is of
 */
export function pathsOfForm(fields: readonly TextField[], skipped: number): string[] {
  const paths = fields.map(({ path }) => {
    const names: string[] = [];
    for (const field of path.slice(skipped)) {
      names.push(field.name);
      if (field.fieldKind === 'message' && hasOwnJsonForm(field.message)) break;
    }
    return names.join('.');
  });
  return [...new Set(paths)];
}

export function writeMask(w: ProtoWriter, mask: DescField, paths: readonly string[]): void {
  if (paths.length === 0) return;
  w.varint32(tagOf(mask.number, 2));
  const start = w.open();
  for (const path of paths) {
    w.varint32(0x0a);
    w.string(path);
  }
  w.close(start);
}
