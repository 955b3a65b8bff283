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
  /** Takes the annotation away: the method has no rule at all. */
  none?: boolean;
}

/** Which of the overrides a rule is: its index, and that of its additional binding. */
export interface RulePlace {
  readonly override: number;
  readonly additional?: number;
}

/** A rule that cannot be used. */
export interface RuleFault {
  /** Names file, method and rule. */
  readonly message: string;
  /** Undefined: the rule is an annotation. */
  readonly place: RulePlace | undefined;
  /** Undefined: the rule names none. */
  readonly method: MethodInfo | undefined;
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
  place: RulePlace | undefined;
}

const verbs = ['get', 'put', 'post', 'delete', 'patch'] as const;
// Method names are tokens of RFC 9110 section 5.6.2.
const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** What is told of each rule that cannot be used; the others are. */
export type OnRuleFault = (message: string, place?: RulePlace) => void;

/** The patterns of a method: of its override, else of its annotation, else of the default. */
export function rulesOf(
  schema: Schema,
  method: MethodInfo,
  overrides: ReadonlyMap<string, PlacedOverride>,
  unannotated: 'none' | 'post',
  onFault: OnRuleFault,
): FlatRule[] {
  const selector = `${method.service}.${method.name}`;
  const override = overrides.get(selector);
  const annotation = methodOption(schema, method, 'google.api.http') as HttpRule | undefined;
  if (override) {
    const source = `http.rules of ${schema.origin}: ${selector}`;
    const { rule, index } = override;
    if (!rule.none) return flatten(rule, source, { override: index }, onFault);
    if (!annotation && unannotated === 'none') onFault(`${source}: there is no rule to take away`, { override: index });
    const patterns = flatten(rule, source, undefined, () => undefined);
    if (patterns.length > 0) onFault(`${source}: none: true stands beside a pattern`, { override: index });
    return [];
  }
  const source = `${schema.origin}: ${method.file}: ${selector}`;
  if (annotation) return flatten(annotation, source, undefined, onFault);
  const usual = { post: method.path, body: '*' };
  return unannotated === 'post' ? flatten(usual, `${source} (default)`, undefined, onFault) : [];
}

function flatten(rule: HttpRule, source: string, place: RulePlace | undefined, onFault: OnRuleFault): FlatRule[] {
  const placed = [
    { rule, place },
    ...(rule.additional_bindings ?? []).map((one, additional) => ({
      rule: one,
      place: place && { ...place, additional },
    })),
  ];
  return placed.flatMap((one, index) => {
    if (index > 0 && one.rule.additional_bindings?.length) {
      onFault(`${source}: additional_bindings must not be nested`, one.place);
    }
    return usable(one.place, onFault, () => single(one.rule, source, one.place)) ?? [];
  });
}

/** What `make` makes; undefined when it throws a SchemaError, of which is told. */
export function usable<T>(place: RulePlace | undefined, onFault: OnRuleFault, make: () => T): T | undefined {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof SchemaError)) throw error;
    onFault(error.message, place);
    return undefined;
  }
}

/** @throws SchemaError */
function single(rule: HttpRule, source: string, place: RulePlace | undefined): FlatRule {
  const patterns = verbs.flatMap((verb) => (rule[verb] ? [{ kind: verb.toUpperCase(), path: rule[verb] }] : []));
  if (rule.custom) patterns.push(rule.custom);
  const [pattern, ...others] = patterns;
  if (!pattern) throw new SchemaError(`${source}: the rule has no pattern (get, put, post, delete, patch or custom)`);
  const name = `${source} [${pattern.kind} ${pattern.path}]`;
  if (others.length > 0) throw new SchemaError(`${name}: the rule has several patterns; use additional_bindings`);
  if (!token.test(pattern.kind)) throw new SchemaError(`${name}: "${pattern.kind}" is not an HTTP method`);
  const body = rule.body ?? '';
  if (body !== '' && pattern.kind === 'GET') throw new SchemaError(`${name}: GET takes no body, but the rule has one`);
  const responseBody = rule.response_body ?? '';
  return { httpMethod: pattern.kind, path: pattern.path, body, responseBody, source: name, place };
}

export interface PlacedOverride {
  readonly rule: HttpRuleOverride;
  readonly index: number;
}

/** Overrides by selector; as in a service config, the last one wins. */
export function overridesBySelector(
  methods: readonly MethodInfo[],
  overrides: readonly HttpRuleOverride[],
  onFault: OnRuleFault,
): Map<string, PlacedOverride> {
  const known = new Set(methods.map((method) => `${method.service}.${method.name}`));
  const bySelector = new Map<string, PlacedOverride>();
  for (const [index, rule] of overrides.entries()) {
    const { selector } = rule;
    if (!known.has(selector)) {
      onFault(`http.rules: selector "${selector}" names no method that is served`, { override: index });
    }
    bySelector.set(selector, { rule, index });
  }
  return bySelector;
}
