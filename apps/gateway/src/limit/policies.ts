import { compilePolicies, type CompiledPolicy, type Policy, PolicyError } from '@sluice/limit';
import { ConfigurationError } from '@sluice/config';
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

/** @throws ConfigurationError with each policy that cannot work */
export function matchedPolicies(configured: readonly LimitPolicyConfig[]): MatchedPolicy[] {
  try {
    const compiled = compilePolicies(configured.map(policyOf));
    return configured.map((config, index) => matched(config, compiled[index]!));
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    throw new ConfigurationError(error.faults.map((fault) => `limits.policies: ${fault}`));
  }
}

function policyOf(config: LimitPolicyConfig): Policy {
  const { name, dimensions, algorithm, limit, window, burst, cost, shadow, on_store_loss } = config;
  return { name, dimensions, algorithm, limit, windowMs: window, burst, cost, shadow, onStoreLoss: on_store_loss };
}

function matched({ match, dimensions }: LimitPolicyConfig, policy: CompiledPolicy): MatchedPolicy {
  const patterns = match.paths?.map(pathPattern);
  const exceptions = match.except_paths?.map(pathPattern);
  const methods = match.methods && new Set(match.methods.map((method) => method.toUpperCase()));
  const { rpcs, callers } = match;
  const needsCaller = dimensions.includes('user') || dimensions.includes('tenant');
  return {
    policy,
    concerns: (target) => !rpcs || rpcs.some((selector) => selectorRank(selector, target.method) !== undefined),
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
