import { readFileSync } from 'node:fs';
import { isMap, isNode, isScalar, isSeq, LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';
import { type FileFault, pathText, shown } from './file-fault.js';
import { schemaFaults } from './schema-faults.js';
import { ConfigurationError } from './settings.js';

type Environment = Readonly<Record<string, string | undefined>>;

/** A YAML file whose mistakes are told with their lines. */
export class YamlFile {
  private readonly lines = new LineCounter();
  private readonly document;

  private constructor(
    readonly name: string,
    text: string,
  ) {
    this.document = parseDocument(text, { lineCounter: this.lines, uniqueKeys: true, prettyErrors: false });
    const { errors } = this.document;
    if (errors.length > 0) {
      throw new ConfigurationError(errors.map((error) => `${this.place(error.pos[0])}: ${error.message}`));
    }
  }

  /** @throws ConfigurationError when the file cannot be read or is no YAML */
  static read(name: string): YamlFile {
    let text: string;
    try {
      text = readFileSync(name, 'utf8');
    } catch (error) {
      throw new ConfigurationError([`${name}: cannot be read (${(error as Error).message})`]);
    }
    return new YamlFile(name, text);
  }

  /** As {@link read}, for text that is already there; `name` is for messages. */
  static parse(name: string, text: string): YamlFile {
    return new YamlFile(name, text);
  }

  /**
   * What is in the file, with environment variables put in (`${NAME}`, `${NAME:-default}`, in values). A variable that is not set
   * is a fault, and its reference stays.
   */
  values(environment: Environment = process.env): { value: unknown; faults: FileFault[] } {
    const faults: FileFault[] = [];
    return { value: interpolate(this.document.toJS(), [], environment, faults), faults };
  }

  /**
   * The faults with their lines, in the order of the file, each once.
   *
   * @param unset variables that are not set: nothing else is said of such a value
   */
  error(faults: readonly FileFault[], unset: readonly FileFault[] = []): ConfigurationError {
    const unjudged = new Set(unset.map((fault) => this.offsetOf(fault)));
    const judged = faults.filter((fault) => !unjudged.has(this.offsetOf(fault)));
    const placed = [...unset, ...judged].map((fault) => {
      const offset = this.offsetOf(fault);
      return { offset, text: `${this.place(offset)}: ${pathText(fault.path) || 'the file'}: ${fault.message}` };
    });
    const sorted = placed.sort((a, b) => a.offset - b.offset).map(({ text }) => text);
    return new ConfigurationError([...new Set(sorted)]);
  }

  private place(offset: number): string {
    const { line, col } = this.lines.linePos(offset);
    return `${this.name}:${line}:${col}`;
  }

  /** The offset of what is at the fault's path, or of the nearest thing around it that the file has. */
  private offsetOf({ path, atKey }: FileFault): number {
    const numbered = this.withIndices(path);
    if (atKey) {
      const around = numbered.length === 1 ? this.document.contents : this.document.getIn(numbered.slice(0, -1), true);
      const pair = isMap(around)
        ? around.items.find(({ key }) => isScalar(key) && key.value === numbered.at(-1))
        : undefined;
      if (isNode(pair?.key) && pair.key.range) return pair.key.range[0];
    }
    for (let length = numbered.length; length > 0; length--) {
      const node = this.document.getIn(numbered.slice(0, length), true);
      if (isNode(node) && node.range) return node.range[0];
    }
    return 0;
  }

  /** The path with an index for every name that stands for an item of a list. */
  private withIndices(path: FileFault['path']): (string | number)[] {
    const numbered: (string | number)[] = [];
    for (const part of path) {
      const around = numbered.length === 0 ? this.document.contents : this.document.getIn(numbered, true);
      const index = isSeq(around) ? around.items.findIndex((item) => isMap(item) && item.get('name') === part) : -1;
      numbered.push(index === -1 ? part : index);
    }
    return numbered;
  }
}

/**
 * Reads a YAML file, puts environment variables in and checks it.
 *
 * @throws ConfigurationError with every fault as `file:line:column: key: value: what was expected`
 */
export function readYamlFile<S extends z.ZodType>(
  name: string,
  schema: S,
  environment: Environment = process.env,
): z.output<S> {
  const file = YamlFile.read(name);
  const { value, faults: unset } = file.values(environment);
  const result = schema.safeParse(value);
  if (result.success && unset.length === 0) return result.data;
  throw file.error(result.success ? [] : schemaFaults(schema, value, result.error.issues), unset);
}

const VARIABLE = /\$\{([A-Z][A-Z0-9_]*)(?::-([^}]*))?\}/g;

function interpolate(
  value: unknown,
  path: readonly (string | number)[],
  environment: Environment,
  faults: FileFault[],
): unknown {
  if (typeof value === 'string') {
    const fault = (message: string) => faults.push({ path, message: `${shown(value)}: ${message}` });
    const put = value.replace(VARIABLE, (reference, name: string, fallback: string | undefined) => {
      const found = environment[name] || fallback;
      if (found === undefined) fault(`${name} is not set and has no default; set it, or write \${${name}:-default}`);
      return found ?? reference;
    });
    if (value.replaceAll(VARIABLE, '').includes('${')) {
      fault('expected ${NAME} or ${NAME:-default}, with a name in capital letters');
    }
    return put;
  }
  if (Array.isArray(value)) return value.map((item, index) => interpolate(item, [...path, index], environment, faults));
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, interpolate(item, [...path, key], environment, faults)]),
    );
  }
  return value;
}
