import { nearestName } from './nearest-name.js';

/** A mistake in a file. */
export interface FileFault {
  /** The keys that lead to it from the top of the file; an item of a list goes by its index or by its `name`. */
  readonly path: readonly (string | number)[];
  /** The value, what was expected, and what was probably meant. */
  readonly message: string;
  /** It is the last key that is wrong, not its value. */
  readonly atKey?: boolean;
}

/** What a check has to say of one value. */
export interface Expectation {
  /** Left out: the message says nothing of the value. */
  readonly value?: unknown;
  readonly expected: string;
  /** The names that the value can be one of. */
  readonly among?: Iterable<string>;
  /** What was meant, where it is known. */
  readonly meant?: string | undefined;
}

/** `"acme.Greter.*": expected …; did you mean "acme.Greeter.*"?` */
export function faultAt(path: FileFault['path'], { value, expected, among, meant }: Expectation): FileFault {
  const near = meant ?? (among && typeof value === 'string' ? nearestName(value, among) : undefined);
  const hint = near === undefined ? '' : `; did you mean ${JSON.stringify(near)}?`;
  return { path, message: `${value === undefined ? '' : `${shown(value)}: `}expected ${expected}${hint}` };
}

const SHOWN_MAX = 120;

/** A value as it stands in the file, without the password of a URL, and cut when it is long. */
export function shown(value: unknown): string {
  const text = (JSON.stringify(value) ?? String(value)).replaceAll(/(:\/\/)[^/@\s"]*@/g, '$1…@');
  return text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}…` : text;
}

/** `upstreams.echo.timeouts."acme.Greeter.Greet"` */
export function pathText(path: FileFault['path']): string {
  return path.map((part) => (typeof part === 'string' && part.includes('.') ? JSON.stringify(part) : part)).join('.');
}

/** Mistakes of a file that stop what was begun with it; who knows the file tells their lines ({@link YamlFile.error}). */
export class FileFaults extends Error {
  override readonly name = 'FileFaults';

  constructor(readonly faults: readonly FileFault[]) {
    super(faults.map(({ path, message }) => `${pathText(path)}: ${message}`).join('\n'));
  }
}
