import { readFileSync } from 'node:fs';
import { isMap, isNode, isSeq, LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';
import { ConfigurationError } from './settings.js';

const VARIABLE = /\$\{([A-Z][A-Z0-9_]*)(?::-([^}]*))?\}/g;

/**
 * Reads a YAML file, puts environment variables in (`${NAME}`, `${NAME:-default}`, in values) and checks it.
 *
 * @throws ConfigurationError with every fault as `file:line:column: key: what was expected`
 */
export function readYamlFile<S extends z.ZodType>(
  file: string,
  schema: S,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): z.output<S> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigurationError([`${file}: cannot be read (${(error as Error).message})`]);
  }
  return parseYaml(file, text, schema, environment);
}

/** As {@link readYamlFile}, for text that is already there; `file` is for messages. */
export function parseYaml<S extends z.ZodType>(
  file: string,
  text: string,
  schema: S,
  environment: Readonly<Record<string, string | undefined>>,
): z.output<S> {
  const faults: string[] = [];
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, prettyErrors: false });
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  for (const error of document.errors) faults.push(`${at(error.pos[0])}: ${error.message}`);
  if (faults.length > 0) throw new ConfigurationError(faults);

  const value = interpolate(document.toJS(), environment, (missing) => faults.push(`${file}: ${missing}`));
  if (faults.length > 0) throw new ConfigurationError(faults);
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new ConfigurationError(
    result.error.issues.map((issue) => {
      const path = issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part));
      return `${at(offsetOf(document, path))}: ${path.join('.') || 'the file'}: ${issue.message}`;
    }),
  );
}

/** `limits.policies.default-ip.cost: …` */
const KEY_OF_FAULT = /^([\w-]+(?:\.[\w-]+)*): /;

/**
 * Faults that were found after a file was read, as {@link readYamlFile} tells them: with the line of the key that each begins with.
 * An item of a list goes by its number or by its `name`. Faults that begin with no key of the file stay as they are.
 */
export function withLines(file: string, { faults }: ConfigurationError): ConfigurationError {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return new ConfigurationError(faults);
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  return new ConfigurationError(
    faults.map((fault) => {
      const parts = KEY_OF_FAULT.exec(fault)?.[1]?.split('.');
      if (!parts || !document.has(parts[0])) return fault;
      const path: (string | number)[] = [];
      for (const part of parts) path.push(indexOfItem(document.getIn(path, true), part) ?? part);
      const { line, col } = lines.linePos(offsetOf(document, path));
      return `${file}:${line}:${col}: ${fault}`;
    }),
  );
}

/** Which item of a list is meant; undefined when `node` is no list. */
function indexOfItem(node: unknown, part: string): number | undefined {
  if (!isSeq(node)) return undefined;
  const named = node.items.findIndex((item) => isMap(item) && item.get('name') === part);
  return named === -1 ? Number(part) : named;
}

/** The offset of the value at `path`, or of the nearest thing around it that the file has. */
function offsetOf(document: ReturnType<typeof parseDocument>, path: readonly (string | number)[]): number {
  for (let length = path.length; length > 0; length--) {
    const node = document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return 0;
}

function interpolate(
  value: unknown,
  environment: Readonly<Record<string, string | undefined>>,
  missing: (message: string) => void,
): unknown {
  if (typeof value === 'string') {
    return value.replace(VARIABLE, (_, name: string, fallback: string | undefined) => {
      const found = environment[name] || fallback;
      if (found === undefined) missing(`\${${name}}: ${name} is not set and has no default`);
      return found ?? '';
    });
  }
  if (Array.isArray(value)) return value.map((item) => interpolate(item, environment, missing));
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, interpolate(item, environment, missing)]),
    );
  }
  return value;
}
