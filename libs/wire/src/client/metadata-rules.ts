import type { Fields } from '../fields.js';
import { isFieldName, isFieldValue, isSendableName } from '../http2/field-rules.js';

/** Fields that this library writes itself. */
const CALL_FIELDS: ReadonlySet<string> = new Set([
  'content-length',
  'content-type',
  'grpc-accept-encoding',
  'grpc-encoding',
  'grpc-timeout',
  'host',
  'te',
]);

const RELAY_FIELDS: ReadonlySet<string> = new Set(['content-length', 'grpc-timeout', 'host', 'te']);

const ILLEGAL_NAME = 'metadata with an illegal name';

/** What forbids sending these fields with a call, or undefined. */
export function metadataFault(fields: Fields, relayed: boolean): string | undefined {
  const reserved = relayed ? RELAY_FIELDS : CALL_FIELDS;
  for (const [name, value] of fields) {
    if (!isSendableName(name)) return isFieldName(name) ? `metadata must not contain ${name}` : ILLEGAL_NAME;
    if (reserved.has(name)) return `metadata must not contain ${name}`;
    if (!isFieldValue(value)) return `metadata ${name} has an illegal value`;
  }
  return undefined;
}
