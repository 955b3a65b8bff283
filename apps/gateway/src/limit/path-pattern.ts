import { decodePercent, type PathTemplate } from '@sluice/transcode';

/**
 * A pattern of paths: segments between slashes, of which `*` stands for one and `**` for any number, none too. Literals are
 * decoded. A path is compared as routing understands it: segment by segment, each decoded after the split.
 */
export type PathPattern = readonly string[];

/** What is wrong with the text of a pattern; undefined: nothing. */
export function patternFault(text: string): string | undefined {
  if (!text.startsWith('/')) return 'a path that begins with a slash';
  if (/[?#]/.test(text)) return 'a path without a query: limits look at paths alone';
  if (/[{}]/.test(text)) return '`*` in place of a variable';
  if (segmentsOf(text).some((segment) => segment.includes('*') && segment !== '*' && segment !== '**')) {
    return '`*` or `**` as a whole segment; to limit one method, name it under `rpcs`';
  }
  return undefined;
}

/** The pattern, or the path of a request: what stands between its slashes, decoded. */
export function segmentsOf(path: string): string[] {
  if (path.length <= 1) return [];
  const segments = path.slice(1).split('/');
  return path.includes('%') ? segments.map((segment) => decodePercent(segment, false) ?? segment) : segments;
}

/**
 * Whether the path of a request, in its segments, is one of the pattern's. After a mismatch the last `**` takes one segment more,
 * so that it costs at most pattern times path.
 */
export function matchesPath(pattern: PathPattern, path: readonly string[]): boolean {
  let at = 0;
  let from = 0;
  let star = -1;
  let resume = 0;
  while (from < path.length) {
    const one = pattern[at];
    if (one === '**') {
      star = at++;
      resume = from;
    } else if (one !== undefined && (one === path[from] || (one === '*' && path[from] !== ''))) {
      at++;
      from++;
    } else if (star >= 0) {
      at = star + 1;
      from = ++resume;
    } else return false;
  }
  while (pattern[at] === '**') at++;
  return at === pattern.length;
}

/** Whether a request that the template takes can have a path of the pattern. */
export function canMatch(pattern: PathPattern, template: PathTemplate): boolean {
  const shape = shapeOf(template);
  const known = new Map<number, boolean>();
  const overlap = (at: number, from: number): boolean => {
    const key = at * (shape.length + 1) + from;
    let result = known.get(key);
    if (result === undefined) known.set(key, (result = compare(at, from)));
    return result;
  };
  const compare = (at: number, from: number): boolean => {
    const [one, two] = [pattern[at], shape[from]];
    if (one === undefined && two === undefined) return true;
    if (one === '**') return overlap(at + 1, from) || (two !== undefined && overlap(at, from + 1));
    if (two === '**') return overlap(at, from + 1) || (one !== undefined && overlap(at + 1, from));
    if (one === undefined || two === undefined) return false;
    const same = one === two || (one === '*' && two !== '') || (two === '*' && one !== '');
    return same && overlap(at + 1, from + 1);
  };
  return overlap(0, 0);
}

/** The one path that the template takes; undefined when there are many. */
export function onlyPath({ segments, verb }: PathTemplate): string[] | undefined {
  const path = segments.flatMap((segment) => (segment.kind === 'literal' ? [segment.text] : []));
  if (path.length < segments.length) return undefined;
  return verb === '' || path.length === 0 ? path : [...path.slice(0, -1), `${path.at(-1)}:${verb}`];
}

/** The template as a pattern of its own. A verb is part of the last segment, and may be part of what a wildcard stands for. */
function shapeOf(template: PathTemplate): string[] {
  return (
    onlyPath(template) ?? template.segments.map((segment) => (segment.kind === 'literal' ? segment.text : segment.kind))
  );
}
