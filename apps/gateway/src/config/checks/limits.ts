import { faultAt, type FileFault } from '@sluice/config';
import { compilePolicies, type Policy, PolicyError } from '@sluice/limit';
import { segmentsOf, canMatch, matchesPath, onlyPath, patternFault } from '../../limit/path-pattern.js';
import { meets } from '../../preflight/hosts.js';
import { boundMethods, type LimitedRoute, matcherOf, policyOf } from '../../limit/policies.js';
import { textField } from '../../tenant/message-field.js';
import { selectorRank } from '../../route/access.js';
import type { LimitPolicyConfig } from '../schema.js';
import type { Subject } from './check.js';

type Path = (string | number)[];

/** The guard counts in buckets of this name. */
const GUARD = 'guess-guard';

/** Policies that cannot work, and parts of them that no call can ever meet. */
export function* limits(subject: Subject): Iterable<FileFault> {
  const { config, authenticates, complete } = subject;
  yield* numbers(config.limits.policies);
  if (config.limits.guess_guard && !authenticates) {
    yield faultAt(['limits', 'guess_guard'], { expected: '`auth`: without it no token is looked at' });
  }
  for (const [index, policy] of config.limits.policies.entries()) {
    const at: Path = ['limits', 'policies', index];
    const found = [
      ...patterns(policy, at),
      ...callers(policy, at, authenticates),
      ...keys(policy, at, subject),
      ...tenants(policy, at, subject),
    ];
    if (policy.name === GUARD) {
      found.push(
        faultAt([...at, 'name'], { value: policy.name, expected: 'another name: limits.guess_guard has this one' }),
      );
    }
    if (complete && found.length === 0) found.push(...unmet(policy, at, subject));
    yield* found;
  }
}

function* numbers(policies: readonly LimitPolicyConfig[]): Iterable<FileFault> {
  try {
    compilePolicies(policies.map(policyOf));
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    for (const { index, key, text } of error.faults) {
      yield { path: ['limits', 'policies', index, keyInFile(key)], message: text };
    }
  }
}

function keyInFile(key: keyof Policy): string {
  if (key === 'windowMs') return 'window';
  return key === 'onStoreLoss' ? 'on_store_loss' : key;
}

function* patterns({ match }: LimitPolicyConfig, at: Path): Iterable<FileFault> {
  for (const key of ['paths', 'except_paths'] as const) {
    for (const [index, value] of (match[key] ?? []).entries()) {
      const expected = patternFault(value);
      if (expected)
        yield faultAt([...at, 'match', key, index], {
          value,
          expected,
          meant: value.startsWith('/') ? undefined : `/${value}`,
        });
    }
  }
  for (const key of ['paths', 'methods', 'rpcs', 'callers'] as const) {
    if (match[key]?.length !== 0) continue;
    yield faultAt([...at, 'match', key], { value: [], expected: 'at least one, or no such key: no call is of none' });
  }
}

function* callers({ dimensions, match }: LimitPolicyConfig, at: Path, authenticates: boolean): Iterable<FileFault> {
  const known = dimensions.find((one) => one === 'user' || one === 'key');
  if (!authenticates) {
    if (known !== undefined) {
      const expected = '`auth`: without it nobody is known, and nothing would be counted';
      yield faultAt([...at, 'dimensions', dimensions.indexOf(known)], { value: known, expected });
    }
    for (const [index, value] of (match.callers ?? []).entries()) {
      if (value === 'anonymous') continue;
      yield faultAt([...at, 'match', 'callers', index], {
        value,
        expected: '`auth`: without it every caller is anonymous',
      });
    }
  } else if (known !== undefined && match.callers?.includes('anonymous')) {
    const index = match.callers.indexOf('anonymous');
    const expected = `callers that are known: the dimension ${known} counts no other`;
    yield faultAt([...at, 'match', 'callers', index], { value: 'anonymous', expected });
  }
}

/** A guest has no key, and without keys nobody has one. */
function* keys(
  { dimensions, match }: LimitPolicyConfig,
  at: Path,
  { config, authenticates }: Subject,
): Iterable<FileFault> {
  const index = dimensions.indexOf('key');
  if (index < 0 || !authenticates) return;
  if (config.auth.mode !== 'jwt' || config.auth.api_keys === undefined) {
    const expected = '`auth.api_keys`: without it nobody comes with a key, and nothing would be counted';
    yield faultAt([...at, 'dimensions', index], { value: 'key', expected });
  } else if (match.callers && !match.callers.includes('user')) {
    const expected = 'user among them: nobody else comes with a key, which the dimension key counts';
    yield faultAt([...at, 'match', 'callers'], { value: match.callers, expected });
  }
}

/** Without tokens a tenant is what calls say: by the header, the host, or their message. */
function* tenants({ dimensions }: LimitPolicyConfig, at: Path, subject: Subject): Iterable<FileFault> {
  const { authenticates, complete, methods, config } = subject;
  const { header, hosts } = config.tenants;
  if (!dimensions.includes('tenant') || authenticates || header !== 'none' || Object.keys(hosts).length > 0) return;
  if (!complete || methods.some(({ kind, desc }) => kind === 'unary' && textField(desc.input, 'tenant'))) return;
  yield faultAt([...at, 'dimensions', dimensions.indexOf('tenant')], {
    value: 'tenant',
    expected: '`auth`, tenants.header or tenants.hosts: without any all calls are of one tenant',
  });
}

/** What no route can meet: first each part by itself, then all together. */
function* unmet(policy: LimitPolicyConfig, at: Path, { routes: all }: Subject): Iterable<FileFault> {
  const { match } = policy;
  const routes = all.filter(
    ({ hosts }) => !hosts || !match.hosts || hosts.some((own) => match.hosts!.some((host) => meets(own, host))),
  );
  let isMet = true;
  for (const key of ['paths', 'except_paths'] as const) {
    for (const [index, value] of (match[key] ?? []).entries()) {
      if (routes.some((route) => canHavePath(route, value))) continue;
      isMet = false;
      const among = routes.map(pathOf);
      yield faultAt([...at, 'match', key, index], { value, expected: 'the path of something that is served', among });
    }
  }
  for (const [index, value] of (match.methods ?? []).entries()) {
    if (routes.some((route) => canHaveMethod(route, value.toUpperCase()))) continue;
    isMet = false;
    const among = new Set(routes.map(({ binding }) => binding?.httpMethod ?? 'POST'));
    yield faultAt([...at, 'match', 'methods', index], {
      value,
      expected: `a method that is served: ${[...among].join(', ')}`,
      among,
    });
  }
  if (!isMet || !selected(policy, all)) return;
  const matcher = matcherOf(policy);
  if (!routes.some((route) => matcher.conditions(route) !== undefined)) {
    yield faultAt([...at, 'match'], {
      expected:
        'a match that some call can meet: no method that is served has all of this (of a public one no caller is known)',
    });
    return;
  }
  for (const [index, value] of (match.except_rpcs ?? []).entries()) {
    const without = matcherOf({ ...policy, match: { ...match, except_rpcs: undefined, except_paths: undefined } });
    const excepted = routes.filter(({ target }) => selectorRank(value, target.method) !== undefined);
    if (excepted.some((route) => without.conditions(route) !== undefined)) continue;
    const expected = 'a method that the rest of the match is for: this one the policy leaves out anyway';
    yield faultAt([...at, 'match', 'except_rpcs', index], { value, expected });
  }
}

/** Whether every selector of the policy names something; otherwise that is told elsewhere. */
function selected({ match }: LimitPolicyConfig, routes: readonly LimitedRoute[]): boolean {
  const written = [...(match.rpcs ?? []), ...(match.except_rpcs ?? [])];
  return written.every((selector) => routes.some(({ target }) => selectorRank(selector, target.method) !== undefined));
}

function canHavePath({ binding, target }: LimitedRoute, value: string): boolean {
  const pattern = segmentsOf(value);
  if (!binding) return matchesPath(pattern, segmentsOf(target.method.path));
  const only = onlyPath(binding.template);
  return only ? matchesPath(pattern, only) : canMatch(pattern, binding.template);
}

function canHaveMethod(route: LimitedRoute, method: string): boolean {
  const fits = (bound: string) => bound === '*' || bound === method || (bound === 'GET' && method === 'HEAD');
  return boundMethods(route).some(fits);
}

const pathOf = ({ binding, target }: LimitedRoute) =>
  binding ? binding.template.source.replaceAll(/\{[^}]*\}/g, '*') : target.method.path;
