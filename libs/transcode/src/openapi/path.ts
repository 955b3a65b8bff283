import type { PathTemplate, PathVariable } from '../http/template.js';

/** A path parameter of OpenAPI, which stands for one segment. */
export interface PathParameter {
  readonly name: string;
  /** The variable that it is (a part of), if any. */
  readonly variable: PathVariable | undefined;
  /** Whether it may hold slashes, which OpenAPI has no way to say. */
  readonly isRest: boolean;
}

export interface OpenApiPath {
  /** With the parameters' names: `/v1/shelves/{shelves_id}:move`. */
  readonly text: string;
  /** Equal for paths that OpenAPI holds to be identical, whatever their parameters are called. */
  readonly shape: string;
  readonly parameters: readonly PathParameter[];
}

/**
 * A template as a path of OpenAPI. A variable over several segments becomes a parameter for each of its wildcards: it
 * keeps its name when there is one, else each is called after the literal before it.
 */
export function openApiPath(template: PathTemplate): OpenApiPath {
  const parameters: PathParameter[] = [];
  const used = new Set<string>();
  const text = template.segments.map((segment, index) => {
    if (segment.kind === 'literal') return encodeURI(segment.text);
    const variable = template.variables.find(({ start, end }) => start <= index && index < end);
    const wildcards = variable
      ? template.segments.slice(variable.start, variable.end).filter(({ kind }) => kind !== 'literal').length
      : 0;
    const before = template.segments[index - 1];
    const literal = before?.kind === 'literal' ? `${before.text.replace(/[^A-Za-z0-9_]/g, '_')}_id` : 'segment';
    const name = unique(wildcards === 1 ? variable!.fieldPath.join('.') : literal, used);
    parameters.push({ name, variable, isRest: segment.kind === '**' });
    return `{${name}}`;
  });
  const verb = template.verb === '' ? '' : `:${encodeURI(template.verb)}`;
  const path = `/${text.join('/')}${verb}`;
  return { text: path, shape: path.replace(/\{[^}]*\}/g, '{}'), parameters };
}

function unique(name: string, used: Set<string>): string {
  let candidate = name;
  for (let count = 2; used.has(candidate); count++) candidate = `${name}_${count}`;
  used.add(candidate);
  return candidate;
}
