import { SchemaError } from '../errors.js';
import type { Binding } from '../binding.js';
import { decodePercent } from './percent.js';

/** What a path leads to. */
export type RouteMatch<T> =
  | { kind: 'found'; binding: Binding; payload: T; variables: readonly string[] }
  | { kind: 'not_found' }
  /** `allow` are the methods that the path has, sorted, for the header of that name. */
  | { kind: 'method_not_allowed'; allow: readonly string[] };

interface Entry<T> {
  binding: Binding;
  payload: T;
}

/** The entries of one path shape by HTTP method. */
type Methods<T> = Map<string, Entry<T>>;

interface Node<T> {
  literals: Map<string, Node<T>>;
  star: Node<T> | undefined;
  /** What `**` leads to by the number of segments that follow it, most first. */
  globstars: { tail: number; node: Node<T> }[];
  /** By verb; the empty string is none. */
  ends: Map<string, Methods<T>>;
}

/** Two rules for the same requests. */
export class RouteConflict<T> extends SchemaError {
  constructor(
    readonly before: { readonly binding: Binding; readonly payload: T },
    readonly after: { readonly binding: Binding; readonly payload: T },
  ) {
    super(`two rules match the same requests: ${before.binding.source} and ${after.binding.source}`);
  }
}

const notFound = { kind: 'not_found' } as const;

/**
 * Finds the binding for a path in a trie of segments. At each segment a literal beats `*`, and `*` beats `**`, of which the one with
 * more segments after it wins; a verb that has a rule for the path beats the same text as data. Only rules that have the HTTP method
 * count, so `POST /a/{x}` is found beside `GET /a/b`. A search visits each node at most once: how many segments `**` takes is known
 * from how many follow it.
 */
export class RouteTable<T> {
  private readonly root: Node<T> = newNode();
  private readonly verbs = new Set<string>();
  /** The longest one, percent-encoded. */
  private verbLengthMax = 0;
  /** Paths without wildcards, which nothing can precede. */
  private readonly statics = new Map<string, Methods<T>>();

  /** @throws RouteConflict when a rule of the same method and shape is there already; the text names both. */
  add(binding: Binding, payload: T): void {
    const { template, httpMethod } = binding;
    let node = this.root;
    const { segments } = template;
    for (const [index, segment] of segments.entries()) node = childOf(node, segment, segments.length - 1 - index);
    const methods = getOrCreate(node.ends, template.verb, () => new Map<string, Entry<T>>());
    const other = methods.get(httpMethod);
    if (other) throw new RouteConflict(other, { binding, payload });
    methods.set(httpMethod, { binding, payload });
    if (template.verb !== '') {
      this.verbs.add(template.verb);
      this.verbLengthMax = Math.max(this.verbLengthMax, 3 * Buffer.byteLength(template.verb));
    }
    if (template.segments.every((segment) => segment.kind === 'literal')) this.statics.set(template.source, methods);
  }

  /**
   * @param httpMethod in upper case
   * @param path as it came, percent-encoded, without the query
   */
  match(httpMethod: string, path: string): RouteMatch<T> {
    const entry = this.statics.get(path)?.get(httpMethod);
    if (entry) return { kind: 'found', binding: entry.binding, payload: entry.payload, variables: [] };
    if (path.charCodeAt(0) !== 0x2f) return notFound;
    const segments = path.length === 1 ? [] : path.slice(1).split('/');
    const search = new Search<T>(httpMethod, segments);
    const found = this.searchWithVerb(search) ?? search.walk(this.root, 0, '');
    if (found) return result(found, search.segments);
    return search.allow.size === 0 ? notFound : { kind: 'method_not_allowed', allow: [...search.allow].sort() };
  }

  private searchWithVerb(search: Search<T>): Entry<T> | undefined {
    const { segments } = search;
    const last = segments[segments.length - 1];
    if (last === undefined || this.verbs.size === 0) return undefined;
    // Verbs may have colons: the longest that fits counts.
    const from = Math.max(0, last.length - 1 - this.verbLengthMax);
    for (let colon = last.indexOf(':', from); colon >= 0; colon = last.indexOf(':', colon + 1)) {
      const verb = decodePercent(last.slice(colon + 1), false);
      if (verb === undefined || !this.verbs.has(verb)) continue;
      const isBare = colon === 0 && segments.length === 1;
      search.segments = isBare ? [] : [...segments.slice(0, -1), last.slice(0, colon)];
      const found = search.walk(this.root, 0, verb);
      if (found) return found;
    }
    search.segments = segments;
    return undefined;
  }
}

class Search<T> {
  readonly allow = new Set<string>();

  constructor(
    private readonly httpMethod: string,
    public segments: string[],
  ) {}

  walk(node: Node<T>, index: number, verb: string): Entry<T> | undefined {
    if (index === this.segments.length) return this.end(node, verb) ?? this.globstars(node, index, verb);
    const segment = this.segments[index]!;
    const literal = node.literals.get(segment) ?? this.decodedLiteral(node, segment);
    return (
      (literal && this.walk(literal, index + 1, verb)) ??
      (segment !== '' && node.star ? this.walk(node.star, index + 1, verb) : undefined) ??
      this.globstars(node, index, verb)
    );
  }

  private globstars(node: Node<T>, index: number, verb: string): Entry<T> | undefined {
    for (const { tail, node: next } of node.globstars) {
      const after = this.segments.length - tail;
      const found = after < index ? undefined : this.walk(next, after, verb);
      if (found) return found;
    }
    return undefined;
  }

  private decodedLiteral(node: Node<T>, segment: string): Node<T> | undefined {
    if (!segment.includes('%')) return undefined;
    const decoded = decodePercent(segment, false);
    return decoded === undefined ? undefined : node.literals.get(decoded);
  }

  private end(node: Node<T>, verb: string): Entry<T> | undefined {
    const methods = node.ends.get(verb);
    if (!methods) return undefined;
    const entry = methods.get(this.httpMethod) ?? methods.get('*');
    if (!entry) for (const method of methods.keys()) this.allow.add(method);
    return entry;
  }
}

function result<T>({ binding, payload }: Entry<T>, segments: string[]): RouteMatch<T> {
  const { variables: declared, segments: shape, globstar } = binding.template;
  // So many segments more than one does `**` take, or less; what follows it is moved by them.
  const moved = segments.length - shape.length;
  const variables: string[] = [];
  for (const { start, end, multi } of declared) {
    const from = globstar !== -1 && start > globstar ? start + moved : start;
    if (!multi) variables.push(segments[from]!);
    else variables.push(segments.slice(from, globstar !== -1 && end > globstar ? end + moved : end).join('/'));
  }
  return { kind: 'found', binding, payload, variables };
}

function newNode<T>(): Node<T> {
  return { literals: new Map(), star: undefined, globstars: [], ends: new Map() };
}

/** @param tail number of segments after this one */
function childOf<T>(node: Node<T>, segment: Binding['template']['segments'][number], tail: number): Node<T> {
  switch (segment.kind) {
    case 'literal':
      return getOrCreate(node.literals, segment.text, () => newNode<T>());
    case '*':
      return (node.star ??= newNode());
    case '**':
      return globstarOf(node, tail);
  }
}

function globstarOf<T>(node: Node<T>, tail: number): Node<T> {
  let found = node.globstars.find((one) => one.tail === tail);
  if (!found) {
    node.globstars.push((found = { tail, node: newNode() }));
    node.globstars.sort((a, b) => b.tail - a.tail);
  }
  return found.node;
}

function getOrCreate<K, V>(map: Map<K, V>, key: K, create: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = create()));
  return value;
}
