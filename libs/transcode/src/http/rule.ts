import { methodOption } from '../schema.js';
import type { MethodInfo, Schema } from '../schema.js';
import { SchemaError } from '../errors.js';

/** `google.api.HttpRule` with the field names of `http.proto`. */
export interface HttpRule {
  get?: string;
  put?: string;
  post?: string;
  delete?: string;
  patch?: string;
  custom?: { kind: string; path: string };
  body?: string;
  response_body?: string;
  additional_bindings?: HttpRule[];
}

/** A rule from a service config (`http.rules`): it replaces the annotation of the method that `selector` names. */
export interface HttpRuleOverride extends HttpRule {
  /** Full name of a method: `pkg.Service.Method`. */
  selector: string;
}

/** One pattern of a rule, with where it came from. */
export interface FlatRule {
  /** HTTP method in upper case, or `*` for any. */
  httpMethod: string;
  path: string;
  body: string;
  responseBody: string;
  /** Names file, method and rule, for messages to the operator. */
  source: string;
}

const verbs = ['get', 'put', 'post', 'delete', 'patch'] as const;
// Method names are tokens of RFC 9110 section 5.6.2.
const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** The patterns of a method: of its override, else of its annotation, else of the default. */
export function rulesOf(
  schema: Schema,
  method: MethodInfo,
  overrides: ReadonlyMap<string, HttpRuleOverride>,
  unannotated: 'none' | 'post',
): FlatRule[] {
  const selector = `${method.service}.${method.name}`;
  const override = overrides.get(selector);
  if (override) return flatten(override, `http.rules of ${schema.origin}: ${selector}`);
  const annotation = methodOption(schema, method, 'google.api.http') as HttpRule | undefined;
  const source = `${schema.origin}: ${method.file}: ${selector}`;
  if (annotation) return flatten(annotation, source);
  return unannotated === 'post' ? flatten({ post: method.path, body: '*' }, `${source} (default)`) : [];
}

function flatten(rule: HttpRule, source: string): FlatRule[] {
  const nested = rule.additional_bindings ?? [];
  if (nested.some((inner) => inner.additional_bindings?.length)) {
    throw new SchemaError(`${source}: additional_bindings must not be nested`);
  }
  return [rule, ...nested].map((one) => single(one, source));
}

function single(rule: HttpRule, source: string): FlatRule {
  const patterns = verbs.flatMap((verb) => (rule[verb] ? [{ kind: verb.toUpperCase(), path: rule[verb] }] : []));
  if (rule.custom) patterns.push(rule.custom);
  const [pattern, ...others] = patterns;
  if (!pattern) throw new SchemaError(`${source}: the rule has no pattern (get, put, post, delete, patch or custom)`);
  const name = `${source} [${pattern.kind} ${pattern.path}]`;
  if (others.length > 0) throw new SchemaError(`${name}: the rule has several patterns; use additional_bindings`);
  if (!token.test(pattern.kind)) throw new SchemaError(`${name}: "${pattern.kind}" is not an HTTP method`);
  const body = rule.body ?? '';
  if (body !== '' && pattern.kind === 'GET') throw new SchemaError(`${name}: GET takes no body, but the rule has one`);
  return { httpMethod: pattern.kind, path: pattern.path, body, responseBody: rule.response_body ?? '', source: name };
}

/** Overrides by selector; as in a service config, the last one wins. */
export function overridesBySelector(
  schema: Schema,
  overrides: readonly HttpRuleOverride[],
): Map<string, HttpRuleOverride> {
  const known = new Set([...schema.methods.values()].map((method) => `${method.service}.${method.name}`));
  const bySelector = new Map<string, HttpRuleOverride>();
  for (const override of overrides) {
    if (!known.has(override.selector)) {
      throw new SchemaError(`http.rules: selector "${override.selector}" names no method of ${schema.origin}`);
    }
    bySelector.set(override.selector, override);
  }
  return bySelector;
}
