import type { DescExtension, DescField } from '@bufbuild/protobuf';
import { wireType } from '../mapping/tag.js';
import type { FieldIndex } from './wire-message.js';

export type AnyField = DescField | DescExtension;

/** Field numbers up to here are looked up in an array. */
const denseMax = 512;

/** @param fields in the order of their positions */
export function fieldIndex(fields: readonly AnyField[]): FieldIndex {
  const numbers = fields.map((field) => field.number);
  const dense = new Int16Array(Math.min(Math.max(0, ...numbers), denseMax) + 1).fill(-1);
  const sparse = new Map<number, number>();
  numbers.forEach((number, position) => {
    if (number <= denseMax) dense[number] = position;
    else sparse.set(number, position);
  });
  return {
    count: fields.length,
    position: (number) => (number < dense.length ? dense[number]! : (sparse.get(number) ?? -1)),
    wireTypes: Uint8Array.from(fields, wireTypesOf),
    keepsAll: Uint8Array.from(fields, (field) => (field.fieldKind === 'scalar' || field.fieldKind === 'enum' ? 0 : 1)),
    siblings: fields.map((field) => siblingsOf(field, fields)),
    closed: fields.map(closedNumbers),
  };
}

/** A bit for each wire type that a field is read from: lists packed or not, whatever the schema says. */
function wireTypesOf(field: AnyField): number {
  switch (field.fieldKind) {
    case 'scalar':
      return 1 << wireType(field.scalar);
    case 'enum':
      return 1 << 0;
    case 'message':
      return 1 << (field.delimitedEncoding ? 3 : 2);
    case 'map':
      return 1 << 2;
    case 'list':
      if (field.listKind === 'message') return 1 << (field.delimitedEncoding ? 3 : 2);
      return (1 << 2) | (1 << (field.listKind === 'enum' ? 0 : wireType(field.scalar)));
  }
}

function siblingsOf(field: AnyField, fields: readonly AnyField[]): number[] | undefined {
  if (!field.oneof) return undefined;
  return fields.flatMap((other, position) => (other !== field && other.oneof === field.oneof ? [position] : []));
}

function closedNumbers(field: AnyField): Set<number> | undefined {
  const desc = field.fieldKind === 'map' ? undefined : field.enum;
  return desc && !desc.open ? new Set(desc.values.map((value) => value.number)) : undefined;
}
