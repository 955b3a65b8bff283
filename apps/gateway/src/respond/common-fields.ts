import { type Field, type Fields, FixedFields } from '@sluice/wire';

/** What every answer carries unless an upstream says otherwise: answers of an API belong in no shared cache. */
export const nosniff: Field = ['x-content-type-options', 'nosniff'];
export const noStore: Field = ['cache-control', 'no-store'];
export const jsonType: Field = ['content-type', 'application/json'];

const COMMON = new FixedFields([nosniff, noStore], { dated: true });
const CACHED = new FixedFields([nosniff], { dated: true });
const JSON_ALONE = new FixedFields([jsonType, nosniff, noStore], { dated: true });

/**
 * Splits the fields of an answer.
 *
 * @param fields of this answer
 * @param more of the exchange
 * @param requestId of the call, which every answer gives back
 * @returns those that many answers begin with, and its own
 */
export function withCommonFields(fields: Fields, more: Fields, requestId: string): { fixed: FixedFields; own: Fields } {
  const id: Field = ['x-request-id', requestId];
  if (fields.length === 1 && fields[0] === jsonType) return { fixed: JSON_ALONE, own: [...more, id] };
  const fixed = fields.some(([name]) => name === 'cache-control') ? CACHED : COMMON;
  return { fixed, own: [...fields, ...more, id] };
}
