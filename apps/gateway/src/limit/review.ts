import { isDeepStrictEqual } from 'node:util';
import { faultAt, type FileFault } from '@sluice/config';
import { type CompiledPolicy, compilePolicies } from '@sluice/limit';
import type { HostedRoute, Subject } from '../config/checks/check.js';
import type { GatewayConfig, LimitPolicyConfig } from '../config/schema.js';
import { coveredBy } from '../preflight/hosts.js';
import { selectorRank } from '../route/access.js';
import { type MatchedPolicy, matcherOf, policyOf } from './policies.js';

/** What a policy says of itself for whoever reads the file. */
export const accountable = ['owner', 'expires'] as const;
export type Accountable = (typeof accountable)[number];

/** What was found, by the kind of rule that it is against. */
export interface Finding extends FileFault {
  readonly rule: 'unlimited' | 'no-effect' | 'owner' | 'expires';
  readonly severity: 'error' | 'warning';
}

export interface ReviewOptions {
  /** Asked of every policy, besides what `limits.review.require` says. */
  readonly require: readonly Accountable[];
  /** In milliseconds since the epoch. */
  readonly now: number;
}

type Path = (string | number)[];
type Configured = Pick<Subject, 'config' | 'routes'>;

const DAY_MS = 86_400_000;
const EXPIRES_SOON_MS = 14 * DAY_MS;

/** A policy together with where it stands. */
interface Reviewed extends MatchedPolicy {
  readonly config: LimitPolicyConfig;
  readonly at: Path;
}

/** What somebody who goes through the limits of a configuration before it is taken over would object to. */
export function review({ config, routes }: Configured, options: ReviewOptions): Finding[] {
  const compiled = compilePolicies(config.limits.policies.map(policyOf));
  const policies = config.limits.policies.map((each, index): Reviewed => {
    const at = ['limits', 'policies', each.name];
    return { config: each, policy: compiled[index]!, at, ...matcherOf(each) };
  });
  return [
    ...unlimited(policies, routes, config),
    ...withoutEffect(policies, routes),
    ...unaccountable(policies, config.limits.review.require, options),
  ];
}

/** Every method that anyone may call has a limit that holds for all its calls, or a reason why it needs none here. */
function* unlimited(
  policies: readonly Reviewed[],
  routes: readonly HostedRoute[],
  config: GatewayConfig,
): Iterable<Finding> {
  const isLimited = (route: HostedRoute) =>
    policies.some((each) => !each.policy.shadow && holdsAlways(each, route, config));
  const open = routes.filter((route) => route.target.access.public && !isLimited(route));
  const { unlimited: excused } = config.limits.review;
  const excuses = (selectors: readonly string[], { target }: HostedRoute) =>
    selectors.some((selector) => selectorRank(selector, target.method) !== undefined);
  const names = new Map<string, string[]>();
  for (const route of open) {
    if (excused.some(({ rpcs }) => excuses(rpcs, route))) continue;
    const { service, name } = route.target.method;
    const how = route.binding ? `${route.binding.httpMethod} ${route.binding.template.source}` : 'gRPC';
    const known = names.get(`${service}.${name}`);
    if (known) known.push(how);
    else names.set(`${service}.${name}`, [how]);
  }
  for (const [name, ways] of names) {
    const message = `${name} (${ways.join(', ')}) is public and has no limit that holds for all its calls: expected a policy without shadow that matches it, or a reason under limits.review.unlimited`;
    yield { rule: 'unlimited', severity: 'error', path: ['limits', 'policies'], message };
  }
  for (const [index, { rpcs }] of excused.entries()) {
    for (const [place, value] of rpcs.entries()) {
      if (open.some((route) => excuses([value], route))) continue;
      const expected = 'a method that anyone may call and no policy limits: there is nothing to excuse';
      const at = ['limits', 'review', 'unlimited', index, 'rpcs', place];
      yield { rule: 'no-effect', severity: 'error', ...faultAt(at, { value, expected }) };
    }
  }
}

/** Whether a policy counts each call of a route, whoever makes it. */
function holdsAlways({ config, conditions }: Reviewed, route: HostedRoute, { hosts: served }: GatewayConfig): boolean {
  const { match } = config;
  const left = conditions(route);
  if (left === undefined || left.length === 0 || match.hosts === undefined) return left?.length === 0;
  // It may depend on nothing but the host, and hold for each that there is.
  const others = matcherOf({ ...config, match: { ...match, hosts: undefined } }).conditions(route);
  const all = route.hosts ?? served;
  return (
    others?.length === 0 && all !== undefined && all.every((host) => match.hosts!.some((own) => coveredBy(host, own)))
  );
}

/** A policy that can never be the one that refuses, since another one always does before. */
function* withoutEffect(policies: readonly Reviewed[], routes: readonly HostedRoute[]): Iterable<Finding> {
  for (const [index, each] of policies.entries()) {
    const concerned = routes.filter((route) => each.conditions(route) !== undefined);
    const stricter = policies.find(
      (other, place) =>
        place !== index &&
        !other.policy.shadow &&
        // Of two that are alike the first one counts.
        admitsNoMore(other.policy, each.policy) &&
        !(admitsNoMore(each.policy, other.policy) && place > index && sameCalls(each, other)) &&
        concerned.every((route) => holdsWhere(other, each, route)),
    );
    if (!stricter) continue;
    const { name } = stricter.policy;
    const expected = `a limit that can refuse: ${name} holds for the same calls and admits no more, so that it always refuses first`;
    const finding = faultAt([...each.at, 'limit'], { value: each.config.limit, expected });
    yield { rule: 'no-effect', severity: 'error', ...finding };
  }
}

/** Whether `other` counts every call of the route that `each` counts. */
function holdsWhere(other: Reviewed, each: Reviewed, route: HostedRoute): boolean {
  const left = other.conditions(route);
  return left !== undefined && (left.length === 0 || sameConditions(other, each));
}

const sameCalls = (one: Reviewed, other: Reviewed) => isDeepStrictEqual(one.config.match, other.config.match);

/** What is asked of a call besides its method. */
function sameConditions({ config: { match: one } }: Reviewed, { config: { match: other } }: Reviewed): boolean {
  const keys = ['callers', 'hosts', 'methods', 'paths', 'except_paths'] as const;
  return keys.every((key) => isDeepStrictEqual(one[key], other[key]));
}

/**
 * Whether `other` admits, in any time, no more calls than `each` would: then `each` never refuses one. Its buckets must hold
 * the calls of at least as many, so it has no dimension that `each` has not.
 */
function admitsNoMore(other: CompiledPolicy, each: CompiledPolicy): boolean {
  if (!other.dimensions.every((dimension) => each.dimensions.includes(dimension))) return false;
  const [most, allowed] = [admitted(other), admitted(each)];
  // A sliding window bounds what comes within it; a bucket of tokens its burst and its rate.
  if (each.algorithm === 'token_bucket') return most.atOnce <= allowed.atOnce && most.perMs <= allowed.perMs;
  const within =
    other.algorithm === 'token_bucket'
      ? most.atOnce + most.perMs * each.windowMs
      : most.atOnce * Math.ceil(each.windowMs / other.windowMs);
  return within <= allowed.atOnce;
}

/** Calls at once, and on average in a millisecond. */
function admitted({ capacity, limit, windowMs, cost }: CompiledPolicy): { atOnce: number; perMs: number } {
  return { atOnce: Math.floor(capacity / cost), perMs: limit / windowMs / cost };
}

/** Whoever is asked about a policy, and until when it is meant to be there. */
function* unaccountable(
  policies: readonly Reviewed[],
  required: readonly Accountable[],
  { require, now }: ReviewOptions,
): Iterable<Finding> {
  const asked = new Set([...required, ...require]);
  for (const { config, at } of policies) {
    for (const rule of accountable) {
      if (!asked.has(rule) || config[rule] !== undefined) continue;
      const expected = rule === 'owner' ? 'an owner, such as team-identity' : 'a day, such as 2027-06-30';
      yield { rule, severity: 'error', ...faultAt([...at, rule], { expected }) };
    }
    const { expires, name, shadow } = config;
    if (expires === undefined) {
      if (!shadow || asked.has('expires')) continue;
      const message = `${name} is in shadow mode and refuses nobody: expected a day until when it is tried`;
      yield { rule: 'expires', severity: 'warning', path: [...at, 'expires'], message };
      continue;
    }
    // It is good until that day is over everywhere.
    const left = Date.parse(expires) + 1.5 * DAY_MS - now;
    const found = { value: expires, expected: left <= 0 ? 'a day to come, or the policy to go' : 'a later day, soon' };
    if (left <= EXPIRES_SOON_MS)
      yield { rule: 'expires', severity: left <= 0 ? 'error' : 'warning', ...faultAt([...at, 'expires'], found) };
  }
}
