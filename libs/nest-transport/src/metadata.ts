import { Metadata } from '@grpc/grpc-js';
import type { Field, Fields } from '@sluice/wire';

/** Fields of the protocol that are not metadata (gRPC over HTTP/2, "Requests"). */
const PROTOCOL_FIELDS: ReadonlySet<string> = new Set([
  'content-type',
  'grpc-accept-encoding',
  'grpc-encoding',
  'grpc-timeout',
  'te',
]);

/** A request's metadata as grpc-js and Nest know it; binary values are decoded. */
export function metadataOf(fields: Fields): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of fields) {
    if (PROTOCOL_FIELDS.has(name)) continue;
    if (!name.endsWith('-bin')) metadata.add(name, value);
    // Several binary values may share a field, separated by commas.
    else for (const part of value.split(',')) metadata.add(name, Buffer.from(part, 'base64'));
  }
  return metadata;
}

/** Metadata as header fields; binary values are encoded. */
export function fieldsOf(metadata: Metadata | undefined | null): Fields {
  if (metadata === undefined || metadata === null) return [];
  const fields: Field[] = [];
  for (const [name, values] of Object.entries(metadata.toHttp2Headers())) {
    for (const value of Array.isArray(values) ? values : [values]) fields.push([name, String(value)]);
  }
  return fields;
}
