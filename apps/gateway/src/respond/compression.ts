import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';
import type { Field, Fields } from '@sluice/wire';
import type { Exchange } from '../exchange.js';

const compressors = {
  br: (body: Uint8Array) =>
    promisify(brotliCompress)(body, {
      params: { [constants.BROTLI_PARAM_QUALITY]: 4, [constants.BROTLI_PARAM_SIZE_HINT]: body.byteLength },
    }),
  gzip: (body: Uint8Array) => promisify(gzip)(body, { level: 5 }),
};
type Coding = keyof typeof compressors;

/** Media types whose content is not compressed yet. */
const COMPRESSIBLE = /^(text\/|application\/(json|problem\+json|javascript|xml|x-ndjson))/;

/**
 * The body in a content coding that the client accepts, when it is large enough to gain from it; adds the fields that say so.
 * Undefined: the body goes as it is.
 */
export function compressed(
  exchange: Exchange,
  fields: Field[],
  body: Uint8Array | undefined,
): Promise<Uint8Array> | undefined {
  if (body === undefined || body.byteLength < exchange.runtime.config.sizes.compress_above) return undefined;
  const type = fields.find(([name]) => name === 'content-type')?.[1];
  if (type === undefined || !COMPRESSIBLE.test(type) || fields.some(([name]) => name === 'content-encoding'))
    return undefined;
  if (forbidsTransform(fields) || forbidsTransform(exchange.head?.passable ?? [])) return undefined;
  fields.push(['vary', 'accept-encoding']);
  const coding = preferredCoding(exchange.head?.acceptEncoding);
  if (!coding) return undefined;
  fields.push(['content-encoding', coding]);
  weakenTags(fields);
  return compressors[coding](body);
}

/** `Cache-Control: no-transform` of an answer or a request (RFC 9110 section 7.7, RFC 9111 sections 5.2.1.6 and 5.2.2.6). */
function forbidsTransform(fields: Fields): boolean {
  return fields.some(([name, value]) => name === 'cache-control' && /(?:^|[,\s])no-transform(?:$|[,\s])/i.test(value));
}

/** A strong tag names these very octets, which are others now (RFC 9110 section 8.8.3.3). */
function weakenTags(fields: Field[]): void {
  for (const [index, [name, value]] of fields.entries()) {
    if (name === 'etag' && !value.startsWith('W/')) fields[index] = [name, `W/${value}`];
  }
}

/** The coding with the highest weight; `br` before `gzip` when alike, none when it is refused or not named (RFC 9110 section 12.5.3). */
function preferredCoding(accept: string | undefined): Coding | undefined {
  if (!accept) return undefined;
  const weights = new Map<string, number>();
  for (const item of accept.split(',').slice(0, 20)) {
    const [name = '', ...parameters] = item.split(';').map((part) => part.trim().toLowerCase());
    const weight = parameters.find((parameter) => parameter.startsWith('q='));
    weights.set(name === 'x-gzip' ? 'gzip' : name, weight === undefined ? 1 : Number(weight.slice(2)) || 0);
  }
  const weightOf = (coding: Coding) => weights.get(coding) ?? weights.get('*') ?? 0;
  const best = weightOf('br') >= weightOf('gzip') ? 'br' : 'gzip';
  return weightOf(best) > 0 ? best : undefined;
}
