import { readFileSync } from 'node:fs';
import { isNode, LineCounter, parseDocument } from 'yaml';
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
