/** The form of a request body by its Content-Type. */
export type BodyForm = 'json' | 'form' | 'ndjson' | undefined;

/** @returns `undefined` for other types and other encodings than UTF-8; a body without a type is taken for JSON */
export function bodyForm(contentType: string | undefined): BodyForm {
  if (contentType === undefined || contentType === '' || contentType === 'application/json') return 'json';
  const [type = '', ...parameters] = contentType.toLowerCase().split(';');
  for (const parameter of parameters) {
    const [name, value = ''] = parameter.split('=');
    if (name!.trim() === 'charset' && !/^\s*"?(utf-?8|us-ascii)"?\s*$/.test(value)) return undefined;
  }
  const essence = type.trim();
  switch (essence) {
    case 'application/json':
      return 'json';
    case 'application/x-www-form-urlencoded':
      return 'form';
    case 'application/x-ndjson':
    case 'application/ndjson':
    case 'application/jsonl':
      return 'ndjson';
    default:
      return /^application\/[a-z0-9!#$&^_.+-]+\+json$/.test(essence) ? 'json' : undefined;
  }
}

interface Range {
  type: string;
  subtype: string;
  quality: number;
}

/** The media ranges of an Accept header (RFC 9110 section 12.5.1), without parameters other than `q`. */
function ranges(accept: string): Range[] {
  return accept.split(',', 64).flatMap((part) => {
    const [range = '', ...parameters] = part.toLowerCase().split(';');
    const [type = '', subtype = ''] = range.trim().split('/');
    if (type === '') return [];
    const weight = parameters.map((parameter) => /^\s*q=([01](?:\.\d{0,3})?)\s*$/.exec(parameter)?.[1]).find(Boolean);
    return [{ type, subtype, quality: weight === undefined ? 1 : Number(weight) }];
  });
}

/**
 * Picks what a client likes best of the media types that can be produced.
 * @param offers in the order of our own preference, which decides between equals
 * @returns `undefined` when none is acceptable
 */
export function negotiate<T extends string>(accept: string | undefined, offers: readonly T[]): T | undefined {
  if (accept === undefined || accept.trim() === '' || accept === '*/*') return offers[0];
  const accepted = ranges(accept);
  let best: T | undefined;
  let bestQuality = 0;
  let bestRank = Infinity;
  for (const offer of offers) {
    const { quality, rank, exact } = preferenceFor(offer, accepted);
    // Between equals a type that the client names beats one that a wildcard covers, then the client's order counts.
    const order = exact ? rank : 1000 + rank;
    if (quality > bestQuality || (quality === bestQuality && quality > 0 && order < bestRank)) {
      best = offer;
      bestQuality = quality;
      bestRank = order;
    }
  }
  return best;
}

/** The most specific range counts for a type. */
function preferenceFor(offer: string, accepted: Range[]): { quality: number; rank: number; exact: boolean } {
  const [type, subtype] = offer.split('/');
  const find = (t: string, s: string): number => accepted.findIndex((range) => range.type === t && range.subtype === s);
  for (const rank of [find(type!, subtype!), find(type!, '*'), find('*', '*')]) {
    const range = accepted[rank];
    if (range) return { quality: range.quality, rank, exact: range.subtype !== '*' };
  }
  return { quality: 0, rank: Infinity, exact: false };
}

/** Whether a client that sends this Accept header takes a body of this type. */
export function accepts(accept: string | undefined, contentType: string): boolean {
  if (accept === undefined || accept === contentType || (accept.endsWith('*/*') && !accept.includes(';'))) return true;
  const essence = contentType.split(';', 1)[0]!.trim().toLowerCase();
  return negotiate(accept, [essence]) !== undefined;
}
