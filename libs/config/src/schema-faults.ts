import { z } from 'zod';
import { faultAt, type FileFault, shown } from './file-fault.js';
import { nearestName } from './nearest-name.js';

type Path = readonly (string | number)[];
type Issue = z.core.$ZodIssue;

/** What a schema has against a value: every issue with its key, the value, what was expected, and what was probably meant. */
export function schemaFaults(schema: z.ZodType, value: unknown, issues: readonly Issue[]): FileFault[] {
  return issues.flatMap((issue) => faultsOf(schema, value, issue, []));
}

function faultsOf(schema: z.ZodType, root: unknown, issue: Issue, before: Path): FileFault[] {
  const path = [...before, ...issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part))];
  if (issue.code === 'unrecognized_keys') {
    const known = keysAt(schema, path);
    return issue.keys.map((key) => {
      const near = nearestName(key, known);
      const hint = near === undefined ? '' : `; did you mean ${JSON.stringify(near)}?`;
      return { path: [...path, key], atKey: true, message: `unknown key: expected one of ${known.join(', ')}${hint}` };
    });
  }
  if (issue.code === 'invalid_union') {
    // The alternative that the value got furthest with says best what is wrong.
    const nearest = issue.errors.find((branch) =>
      branch.some((inner) => inner.path.length > 0 || inner.code !== 'invalid_type'),
    );
    if (nearest) return nearest.flatMap((inner) => faultsOf(schema, root, inner, path));
  }
  const found = valueAt(root, path);
  if (issue.code === 'invalid_value') {
    const among = issue.values.map(String);
    return [faultAt(path, { value: found, expected: `one of ${among.join(', ')}`, among })];
  }
  const what = issue.message.replace(/^Invalid input: (expected \w+), received \w+$/, '$1');
  const isLeaf = found !== undefined && (found === null || typeof found !== 'object');
  return [{ path, message: isLeaf ? `${shown(found)}: ${what}` : what }];
}

function valueAt(root: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (value, part) => (value as Record<string | number, unknown> | undefined | null)?.[part],
    root,
  );
}

interface Described {
  readonly $ref?: string;
  readonly properties?: Readonly<Record<string, Described>>;
  readonly items?: Described;
  readonly additionalProperties?: Described | boolean;
  readonly anyOf?: readonly Described[];
  readonly oneOf?: readonly Described[];
  readonly allOf?: readonly Described[];
  readonly $defs?: Readonly<Record<string, Described>>;
}

/** The keys that the schema knows of the object at `path`. */
function keysAt(schema: z.ZodType, path: Path): string[] {
  const top = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Described;
  let places = alternatives(top, top);
  for (const part of path) {
    places = places
      .flatMap(({ properties, items, additionalProperties }) =>
        typeof part === 'number'
          ? [items]
          : [properties?.[part] ?? (typeof additionalProperties === 'object' ? additionalProperties : undefined)],
      )
      .flatMap((next) => (next ? alternatives(next, top) : []));
  }
  return [...new Set(places.flatMap(({ properties }) => Object.keys(properties ?? {})))];
}

function alternatives(described: Described, top: Described): Described[] {
  const ref = described.$ref?.replace('#/$defs/', '');
  const referred = ref === undefined ? [] : ref === '#' ? [top] : [top.$defs?.[ref] ?? {}];
  const inner = [...referred, ...(described.anyOf ?? []), ...(described.oneOf ?? []), ...(described.allOf ?? [])];
  return [described, ...inner.flatMap((one) => alternatives(one, top))];
}
