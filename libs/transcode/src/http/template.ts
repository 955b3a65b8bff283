import { SchemaError } from '../errors.js';
import { decodePercent } from './percent.js';

/**
 * Path templates of `google/api/http.proto`:
 *
 *     Template  = "/" [ Segments ] [ Verb ] ;
 *     Segments  = Segment { "/" Segment } ;
 *     Segment   = "*" | "**" | LITERAL | Variable ;
 *     Variable  = "{" FieldPath [ "=" Segments ] "}" ;
 *     FieldPath = IDENT { "." IDENT } ;
 *     Verb      = ":" LITERAL ;
 *
 * More is accepted, where it has one clear meaning, as other gateways do: `/` alone and `/:verb`; one `**` anywhere, since what
 * follows it is of a known length; colons in literals, and in the verb, which is what follows the first colon of the last segment
 * (outside braces). Refused is what has two: a second `**`, a variable in a variable or twice, a verb before the last segment.
 */
export interface PathTemplate {
  readonly source: string;
  /** Literals in decoded form, `*` and `**` for the wildcards. */
  readonly segments: readonly Segment[];
  /** Without its colon, decoded; empty when there is none. */
  readonly verb: string;
  readonly variables: readonly PathVariable[];
  /** Index of its `**`; -1 when it has none. */
  readonly globstar: number;
}

export type Segment = { kind: 'literal'; text: string } | { kind: '*' } | { kind: '**' };

export interface PathVariable {
  /** Names of the fields as written in the template: `['book', 'name']`. */
  readonly fieldPath: readonly string[];
  /** Index of its first segment. */
  readonly start: number;
  /** Index after its last segment. */
  readonly end: number;
  /** Whether it takes more than one segment: then `%2F` stays encoded in its value. */
  readonly multi: boolean;
}

const ident = /^[A-Za-z_][A-Za-z0-9_]*$/;
// `pchar` of RFC 3986 section 3.3 without the characters that templates use themselves.
const literal = /^(?:[A-Za-z0-9._~!$&'()+,;=@:-]|%[0-9A-Fa-f]{2})+$/;

/** @throws SchemaError that says what is wrong at which character */
export function parseTemplate(source: string): PathTemplate {
  const parser = new TemplateParser(source);
  return parser.parse();
}

class TemplateParser {
  private position = 0;
  private readonly segments: Segment[] = [];
  private readonly variables: PathVariable[] = [];

  constructor(private readonly source: string) {}

  parse(): PathTemplate {
    if (!this.accept('/')) this.fail('a template starts with "/"');
    if (this.position < this.source.length && this.source[this.position] !== ':') this.parseSegments(true);
    const verb = this.accept(':') ? this.parseLiteral('verb', '/{}*') : '';
    if (this.position < this.source.length) {
      const found = this.source[this.position]!;
      this.fail(found === '/' && verb !== '' ? 'a verb must be at the end' : `unexpected "${found}"`);
    }
    const globstar = this.segments.findIndex(({ kind }) => kind === '**');
    if (this.segments.findLastIndex(({ kind }) => kind === '**') !== globstar) {
      this.fail('"**" occurs twice, and which of them takes what would be anyone\'s guess');
    }
    return { source: this.source, segments: this.segments, verb, variables: this.variables, globstar };
  }

  private parseSegments(variablesAllowed: boolean): void {
    do {
      if (this.accept('**')) this.segments.push({ kind: '**' });
      else if (this.accept('*')) this.segments.push({ kind: '*' });
      else if (this.source[this.position] === '{') {
        if (!variablesAllowed) this.fail('a variable inside a variable');
        this.parseVariable();
      } else this.segments.push({ kind: 'literal', text: this.parseLiteral('segment', this.stops(variablesAllowed)) });
    } while (this.accept('/'));
  }

  private parseVariable(): void {
    this.position++;
    const start = this.segments.length;
    const fieldPath = this.take('.=}').split('.');
    while (this.accept('.')) fieldPath.push(this.take('.=}'));
    if (!fieldPath.every((name) => ident.test(name))) this.fail(`"${fieldPath.join('.')}" is not a field path`);
    if (this.accept('=')) this.parseSegments(false);
    else this.segments.push({ kind: '*' });
    if (!this.accept('}')) this.fail('expected "}"');
    if (this.variables.some((other) => other.fieldPath.join('.') === fieldPath.join('.'))) {
      this.fail(`variable "${fieldPath.join('.')}" occurs twice`);
    }
    const end = this.segments.length;
    const multi = end - start > 1 || this.segments[start]?.kind === '**';
    this.variables.push({ fieldPath, start, end, multi });
  }

  /** The characters that end a literal: a colon as well, in the last segment, where it begins the verb. */
  private stops(outsideBraces: boolean): string {
    const isLast = outsideBraces && !this.source.includes('/', this.position);
    return isLast ? '/{}*:' : '/{}*';
  }

  private parseLiteral(what: string, stops: string): string {
    const text = this.take(stops);
    if (!literal.test(text)) this.fail(text === '' ? `empty ${what}` : `"${text}" is not a valid ${what}`);
    const decoded = decodePercent(text, false);
    return decoded ?? this.fail(`"${text}" is not valid UTF-8`);
  }

  private take(stops: string): string {
    const start = this.position;
    while (this.position < this.source.length && !stops.includes(this.source[this.position]!)) this.position++;
    return this.source.slice(start, this.position);
  }

  private accept(text: string): boolean {
    if (!this.source.startsWith(text, this.position)) return false;
    this.position += text.length;
    return true;
  }

  private fail(reason: string): never {
    throw new SchemaError(`path template "${this.source}": ${reason} (character ${this.position + 1})`);
  }
}
