import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';
import type { Field } from '@sluice/wire';
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
  fields.push(['vary', 'accept-encoding']);
  const coding = preferredCoding(exchange.head?.acceptEncoding);
  if (!coding) return undefined;
  fields.push(['content-encoding', coding]);
  return compressors[coding](body);
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
