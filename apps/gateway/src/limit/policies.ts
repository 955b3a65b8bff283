import { compilePolicies, type CompiledPolicy, type Policy, PolicyError } from '@sluice/limit';
import { ConfigurationError } from '@sluice/config';
import type { MethodInfo } from '@sluice/transcode';
import type { LimitPolicyConfig } from '../config/schema.js';
import type { Target } from '../route/route.js';
import { selectorRank } from '../route/access.js';
import type { LimitedCall } from './limit.js';

/** A limit together with the calls that it is for. */
export interface MatchedPolicy {
  readonly policy: CompiledPolicy;
  /** Everything of the match that one call can differ in from another call of the same method. */
  appliesTo(call: LimitedCall): boolean;
  /** Whether the policy can apply to the method at all. */
  concerns(target: Target): boolean;
}

/**
 * @param served every method that can be called
 * @throws ConfigurationError with each policy that cannot work
 */
export function matchedPolicies(
  configured: readonly LimitPolicyConfig[],
  served: readonly MethodInfo[],
): MatchedPolicy[] {
  const strays = configured.flatMap((config, index) => straySelectors(config, index, served));
  if (strays.length > 0) throw new ConfigurationError(strays);
  try {
    const compiled = compilePolicies(configured.map(policyOf));
    return configured.map((config, index) => matched(config, compiled[index]!));
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    throw new ConfigurationError(
      error.faults.map(({ index, key, text }) => `limits.policies.${index}.${keyInFile(key)}: ${text}`),
    );
  }
}

/** A selector with a slip in it would leave calls unlimited without a word. */
function straySelectors({ name, match }: LimitPolicyConfig, index: number, served: readonly MethodInfo[]): string[] {
  return (['rpcs', 'except_rpcs'] as const).flatMap((key) =>
    [...(match[key] ?? []).entries()]
      .filter(([, selector]) => !selects([selector], served))
      .map(([item, selector]) => {
        const where = `limits.policies.${index}.match.${key}.${item}: policy ${JSON.stringify(name)}`;
        return `${where}: ${selector} names no method that is served, expected package.Service.Method or package.Service.*`;
      }),
  );
}

const selects = (selectors: readonly string[], methods: readonly MethodInfo[]) =>
  methods.some((method) => selectors.some((selector) => selectorRank(selector, method) !== undefined));

function keyInFile(key: keyof Policy): string {
  if (key === 'windowMs') return 'window';
  return key === 'onStoreLoss' ? 'on_store_loss' : key;
}

function policyOf(config: LimitPolicyConfig): Policy {
  const { name, dimensions, algorithm, limit, window, burst, cost, shadow, on_store_loss } = config;
  return { name, dimensions, algorithm, limit, windowMs: window, burst, cost, shadow, onStoreLoss: on_store_loss };
}

function matched({ match, dimensions }: LimitPolicyConfig, policy: CompiledPolicy): MatchedPolicy {
  const patterns = match.paths?.map(pathPattern);
  const exceptions = match.except_paths?.map(pathPattern);
  const methods = match.methods && new Set(match.methods.map((method) => method.toUpperCase()));
  const { rpcs, except_rpcs: exceptRpcs, callers } = match;
  const needsCaller = dimensions.includes('user') || dimensions.includes('tenant');
  return {
    policy,
    concerns: ({ method }) =>
      (!rpcs || selects(rpcs, [method])) && !(exceptRpcs !== undefined && selects(exceptRpcs, [method])),
    appliesTo(call) {
      if (needsCaller && !call.caller) return false;
      if (methods && !methods.has(call.transport.method)) return false;
      if (patterns && !patterns.some((pattern) => pattern.test(call.path))) return false;
      if (exceptions?.some((pattern) => pattern.test(call.path))) return false;
      return !callers || callers.includes(callerKind(call));
    },
  };
}

function callerKind({ caller }: LimitedCall): 'anonymous' | 'guest' | 'user' {
  if (!caller) return 'anonymous';
  return caller.guest ? 'guest' : 'user';
}

/** `*` stands for one segment, `**` for any number of them. */
function pathPattern(pattern: string): RegExp {
  const source = pattern
    .split('/')
    .map((segment) => {
      if (segment === '**') return '.*';
      return segment === '*' ? '[^/]+' : segment.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
    })
    .join('/');
  return new RegExp(`^${source}$`);
}
