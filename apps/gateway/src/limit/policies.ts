import { compilePolicies, type CompiledPolicy, type Policy } from '@sluice/limit';
import type { Binding } from '@sluice/transcode';
import type { LimitPolicyConfig } from '../config/schema.js';
import { selectorRank } from '../route/access.js';
import type { Target } from '../route/route.js';
import type { LimitedCall } from './limit.js';
import { hostSet } from '../preflight/hosts.js';
import { canMatch, matchesPath, onlyPath, type PathPattern, segmentsOf } from './path-pattern.js';

/** Of a method, what policies look at. */
export type LimitedTarget = Pick<Target, 'method' | 'access'>;

/** Of a route, what policies look at. */
export interface LimitedRoute {
  readonly target: LimitedTarget;
  /** Undefined: a gRPC call. */
  readonly binding: Pick<Binding, 'httpMethod' | 'template'> | undefined;
}

/** What one call of a route can differ in from another. */
export type Condition = (call: LimitedCall) => boolean;

/** A limit together with the calls that it is for. */
export interface MatchedPolicy {
  readonly policy: CompiledPolicy;
  /** Whether the policy can apply to the method at all. */
  concerns(target: LimitedTarget): boolean;
  /** What a call of the route must be for the policy to apply; undefined: it never does. */
  conditions(route: LimitedRoute): readonly Condition[] | undefined;
}

/** @throws PolicyError with each policy that cannot work */
export function matchedPolicies(configured: readonly LimitPolicyConfig[]): MatchedPolicy[] {
  const compiled = compilePolicies(configured.map(policyOf));
  return configured.map((config, index) => ({ policy: compiled[index]!, ...matcherOf(config) }));
}

export function policyOf(config: LimitPolicyConfig): Policy {
  const { name, dimensions, algorithm, limit, window, burst, cost, shadow, on_store_loss } = config;
  return { name, dimensions, algorithm, limit, windowMs: window, burst, cost, shadow, onStoreLoss: on_store_loss };
}

/** Everything that a route says of itself is decided here; what is left for each call is in its conditions. */
export function matcherOf({ match, dimensions }: LimitPolicyConfig): Omit<MatchedPolicy, 'policy'> {
  const patterns = match.paths?.map(segmentsOf);
  const exceptions = match.except_paths?.map(segmentsOf);
  const methods = match.methods && new Set(match.methods.map((method) => method.toUpperCase()));
  const { rpcs, except_rpcs: exceptRpcs, callers } = match;
  const isOfHosts = match.hosts && hostSet(match.hosts);
  const ofHosts: Condition | undefined = isOfHosts && (({ head }) => isOfHosts(head.hostname));
  const needsCaller = dimensions.includes('user') || dimensions.includes('key');
  const byKey: Condition | undefined = dimensions.includes('key')
    ? ({ caller }) => caller?.key !== undefined
    : undefined;
  const concerns = ({ method, access }: LimitedTarget) => {
    const selects = (selectors: readonly string[]) => selectors.some((one) => selectorRank(one, method) !== undefined);
    if (rpcs && !selects(rpcs)) return false;
    if (exceptRpcs && selects(exceptRpcs)) return false;
    // On a public method nobody is known.
    return !access.public || !(needsCaller || (callers && !callers.includes('anonymous')));
  };
  return {
    concerns,
    conditions(route) {
      if (!concerns(route.target)) return undefined;
      const parts = [
        methods && methodCondition(methods, route),
        patterns && pathCondition(patterns, route),
        exceptions && negated(pathCondition(exceptions, route)),
        callers && callerCondition(callers, route),
        ofHosts,
        byKey,
      ];
      if (parts.includes('never')) return undefined;
      return parts.filter((part) => typeof part === 'function');
    },
  };
}

/** `always` and `never` do not depend on the call. */
type Part = Condition | 'always' | 'never';

/** The HTTP methods of a route; `*` is any. By Connect, methods without side effects take GET besides POST. */
export function boundMethods({ binding, target: { method } }: LimitedRoute): readonly string[] {
  if (binding) return [binding.httpMethod];
  return method.kind === 'unary' && method.idempotency === 'no_side_effects' ? ['GET', 'POST'] : ['POST'];
}

/** HEAD is the GET that it is answered as. */
function methodCondition(methods: ReadonlySet<string>, route: LimitedRoute): Part {
  const takes = (method: string) => methods.has(method) || (method === 'HEAD' && methods.has('GET'));
  const bound = boundMethods(route);
  if (bound.every(takes)) return 'always';
  const others = bound.some((one) => one === '*' || takes(one) || (one === 'GET' && takes('HEAD')));
  return others ? ({ transport }) => takes(transport.method) : 'never';
}

function pathCondition(patterns: readonly PathPattern[], { target, binding }: LimitedRoute): Part {
  const only = binding ? onlyPath(binding.template) : segmentsOf(target.method.path);
  const matches = (path: readonly string[]) => patterns.some((pattern) => matchesPath(pattern, path));
  if (only) return matches(only) ? 'always' : 'never';
  if (!patterns.some((pattern) => canMatch(pattern, binding!.template))) return 'never';
  return ({ path }) => matches(segmentsOf(path));
}

function negated(part: Part): Part {
  if (typeof part === 'function') return (call) => !part(call);
  return part === 'always' ? 'never' : 'always';
}

type CallerKind = NonNullable<LimitPolicyConfig['match']['callers']>[number];

function callerCondition(callers: readonly CallerKind[], { target }: LimitedRoute): Part {
  if (target.access.public) return callers.includes('anonymous') ? 'always' : 'never';
  const known = callers.filter((kind) => kind !== 'anonymous');
  if (known.length === 0) return 'never';
  return ({ caller }) => caller !== undefined && known.includes(caller.guest ? 'guest' : 'user');
}
