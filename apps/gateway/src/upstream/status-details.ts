import { readFileSync } from 'node:fs';
import { descriptorSetPath } from '@sluice/contract';
import type { Json, StatusDetail } from '@sluice/problem';
import { type JsonOptions, loadSchema, type MessageCodec, messageCodec, type Schema } from '@sluice/transcode';

/** Holds the types of google/rpc/error_details.proto, which descriptor sets seldom do. */
let standard: Schema | undefined;

/**
 * Makes what prints the details of an upstream's statuses as JSON: messages of its own descriptor set and the usual ones of `google.rpc`
 * as a `google.protobuf.Any` prints, anything else as `@type` and the bytes in base64 as `value`.
 */
export function detailPrinter(schema: Schema, options: JsonOptions): (detail: StatusDetail) => Json {
  const codecs = new Map<string, MessageCodec>();
  const codecOf = (type: string): MessageCodec | undefined => {
    let codec = codecs.get(type);
    if (codec) return codec;
    codec = messageCodec(schema, type, options);
    if (!codec && type.startsWith('google.')) {
      standard ??= loadSchema(readFileSync(descriptorSetPath), descriptorSetPath);
      codec = messageCodec(standard, type, options);
    }
    // Only of types that exist: names that an upstream makes up take no memory.
    if (codec) codecs.set(type, codec);
    return codec;
  };
  return ({ typeUrl, value }): Json => {
    const type = typeUrl.slice(typeUrl.lastIndexOf('/') + 1);
    const json = printed(codecOf(type), value);
    if (json === undefined) return { '@type': typeUrl, value: Buffer.from(value).toString('base64') };
    // Types with a JSON form of their own stand in `value` (https://protobuf.dev/programming-guides/json/#any).
    const members = isObject(json) && !type.startsWith('google.protobuf.') ? json : { value: json };
    return { '@type': typeUrl, ...members };
  };
}

function printed(codec: MessageCodec | undefined, message: Uint8Array): Json | undefined {
  try {
    return codec && (JSON.parse(codec.toJson(message).toString()) as Json);
  } catch {
    // Bytes that are not of their type are shown as they are.
    return undefined;
  }
}

function isObject(json: Json): json is { readonly [key: string]: Json } {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}
