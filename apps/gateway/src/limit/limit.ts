import {
  type Ask,
  compilePolicies,
  type CompiledPolicy,
  type Decision,
  limitFields,
  limitProblem,
  type LimitStore,
} from '@sluice/limit';
import type { Dimension } from '@sluice/limit';
import type { GatewayConfig } from '../config/schema.js';
import type { Exchange } from '../exchange.js';
import { addressKey } from '../preflight/address.js';
import type { Target } from '../route/route.js';
import { type MatchedPolicy, matchedPolicies } from './policies.js';

/** Told of every decision, for metrics. */
export type DecisionObserver = (decision: Decision) => void;

/** The limits of a configuration over a store that outlives it. */
export class Limiter {
  private readonly policies: readonly MatchedPolicy[];
  private readonly byTarget = new WeakMap<Target, readonly MatchedPolicy[]>();
  private readonly guessGuard: CompiledPolicy | undefined;

  /**
   * @param enforce false: nothing is decided at all
   * @throws ConfigurationError with each policy that cannot work
   */
  constructor(
    private readonly config: GatewayConfig['limits'],
    private readonly store: LimitStore,
    private readonly enforce: boolean,
    private readonly observe: DecisionObserver,
  ) {
    this.policies = matchedPolicies(config.policies);
    const guard = config.guess_guard;
    this.guessGuard =
      guard &&
      compilePolicies([
        {
          name: 'guess-guard',
          dimensions: ['ip'],
          algorithm: 'token_bucket',
          limit: guard.limit,
          windowMs: guard.window,
        },
      ])[0];
  }

  /** Pipeline stage's work: throws Problem RATE_LIMIT_EXCEEDED when a policy refuses; at once with a store in memory. */
  check(exchange: Exchange): void | Promise<void> {
    if (!this.enforce) return undefined;
    const asks: Ask[] = [];
    for (const { policy, appliesTo } of this.policiesOf(exchange.route.target)) {
      if (appliesTo(exchange))
        asks.push({ policy, key: keyOf(policy, exchange), cost: policy.cost, shadow: policy.shadow });
    }
    return asks.length === 0 ? undefined : this.settle(exchange, this.store.decide(asks));
  }

  /** Counts a refused token against the address it came from. */
  countGuess(exchange: Exchange): void | Promise<void> {
    const policy = this.guessGuard;
    if (!this.enforce || !policy) return undefined;
    const ask = { policy, key: addressKey(exchange.head.clientAddress), cost: 1, shadow: false };
    return this.settle(exchange, this.store.decide([ask]));
  }

  /** The policies that would apply to a call and what they would say to it; spends nothing. */
  async look(exchange: Exchange, target: Target) {
    const asks = this.policiesOf(target)
      .filter((matched) => matched.appliesTo(exchange))
      .map(({ policy }) => ({ policy, key: keyOf(policy, exchange), cost: policy.cost, shadow: policy.shadow }));
    return this.store.peek(asks);
  }

  private policiesOf(target: Target): readonly MatchedPolicy[] {
    let policies = this.byTarget.get(target);
    if (!policies) {
      policies = this.policies.filter((matched) => matched.concerns(target));
      this.byTarget.set(target, policies);
    }
    return policies;
  }

  private settle(exchange: Exchange, decision: Decision | Promise<Decision>): void | Promise<void> {
    return decision instanceof Promise
      ? decision.then((settled) => this.apply(exchange, settled))
      : this.apply(exchange, decision);
  }

  private apply(exchange: Exchange, decision: Decision): void {
    this.observe(decision);
    const options = { legacy: this.config.legacy_headers };
    if (!decision.allowed) throw limitProblem(decision, options);
    const fields = limitFields(decision, options);
    for (const name in fields) exchange.responseFields.push([name, fields[name]!]);
  }
}

/** Pipeline stage: may this caller call now. */
export function limit(exchange: Exchange): void | Promise<void> {
  return exchange.runtime.limiter.check(exchange);
}

const values: Readonly<Record<Dimension, (exchange: Exchange) => string>> = {
  user: ({ caller }) => `${caller?.tenant ?? ''}/${caller?.subject ?? ''}`,
  ip: ({ head }) => addressKey(head.clientAddress),
  endpoint: ({ route }) => route.target.method.path,
  tenant: ({ caller }) => caller?.tenant ?? '',
  global: () => '',
};

function keyOf(policy: CompiledPolicy, exchange: Exchange): string {
  const { dimensions } = policy;
  if (dimensions.length === 1) return values[dimensions[0]!](exchange);
  return dimensions.map((dimension) => values[dimension](exchange)).join('|');
}
