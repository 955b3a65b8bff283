import { type Caller, networkOf } from '@sluice/identity';
import {
  type Ask,
  type CompiledPolicy,
  type Decision,
  type Dimension,
  limitFields,
  limitProblem,
  type LimitStore,
  refusalFields,
  type Verdict,
} from '@sluice/limit';
import type { Problem } from '@sluice/problem';
import type { GatewayConfig } from '../config/schema.js';
import type { Exchange } from '../exchange.js';
import type { Target } from '../route/route.js';
import { awaitsTenant } from '../tenant/tenant.js';
import { GuessGuard } from './guess-guard.js';
import {
  type Condition,
  type LimitedRoute,
  type LimitedTarget,
  type MatchedPolicy,
  matchedPolicies,
} from './policies.js';

/** Of a call, what limits look at. An exchange is one; a question about limits makes one up. */
export interface LimitedCall {
  readonly transport: { readonly method: string };
  readonly path: string;
  readonly caller: Caller | undefined;
  /** Whose shares it takes, whether somebody is signed in or not. */
  readonly tenant: string;
  readonly head: { readonly clientAddress: string; readonly hostname: string };
  readonly route: LimitedRoute;
}

/** What one bucket says, and the method it is for when it is a method's own. */
export interface BucketState {
  readonly verdict: Verdict;
  readonly rpc: string | undefined;
}

/** A policy that applies to calls of one route that meet its conditions. */
interface RoutePolicy {
  readonly policy: CompiledPolicy;
  readonly conditions: readonly Condition[];
}

/** The policies of a route, and whether one of them counts tenants. */
interface RoutePlan {
  readonly policies: readonly RoutePolicy[];
  readonly byTenant: boolean;
}

/** Told of every decision, for metrics. */
export type DecisionObserver = (exchange: Exchange, decision: Decision) => void;

/** Buckets of one policy that are shown at most. */
const SHOWN_MAX = 20;

/** The limits of a configuration over a store that outlives it. */
export class Limiter {
  private readonly policies: readonly MatchedPolicy[];
  private readonly byRoute = new WeakMap<LimitedRoute, RoutePlan>();
  private readonly guessGuard: GuessGuard | undefined;

  /**
   * @param enforced false: nothing is decided at all
   * @throws PolicyError with each policy that cannot work
   */
  constructor(
    private readonly config: GatewayConfig['limits'],
    private readonly store: LimitStore,
    private readonly enforced: boolean,
    private readonly observe: DecisionObserver,
  ) {
    this.policies = matchedPolicies(config.policies);
    const guard = config.guess_guard;
    if (guard && enforced) {
      this.guessGuard = new GuessGuard(guard, store, config.legacy_headers, observe);
    }
  }

  /**
   * Decides all policies of a call together; throws Problem RATE_LIMIT_EXCEEDED when one refuses. At once with a store in memory. Where
   * one counts tenants and the message alone can say which it is, all of them wait for {@link checkByMessage}.
   */
  check(exchange: Exchange): void | Promise<void> {
    if (!this.enforced) return undefined;
    if (exchange.caller === undefined && awaitsTenant(exchange) && this.planOf(exchange.route).byTenant)
      return undefined;
    return this.decide(exchange);
  }

  /** Decides what waited for the message of a call, when anything did. @throws Problem RATE_LIMIT_EXCEEDED */
  checkByMessage(exchange: Exchange): void | Promise<void> {
    return this.enforced && this.planOf(exchange.route).byTenant ? this.decide(exchange) : undefined;
  }

  /** A call that was counted among those of unknown tenants was of one that exists: that one's buckets are to know of it. */
  tenantFound(exchange: Exchange): void {
    const { debit, route } = exchange;
    const counted = debit?.asks.filter(({ policy }) => policy.dimensions.includes('tenant')) ?? [];
    if (counted.length > 0) void this.store.decide(counted.map(({ policy }) => askOf(policy, exchange, route.target)));
  }

  private decide(exchange: Exchange): void | Promise<void> {
    const asks = this.asksOf(exchange);
    if (asks.length === 0) return undefined;
    return this.settle(exchange, this.store.decide(asks));
  }

  /** A call that was let in and then found no room behind the gateway costs its caller nothing. */
  ended(exchange: Exchange): void {
    if (exchange.debit && exchange.problem?.code === 'OVERLOADED') this.store.refund(exchange.debit);
  }

  /** A limit that a service behind the gateway enforces itself is told in the same fields as the gateway's own, which let the call in. */
  refusedBehind(exchange: Exchange, { code, details, headers }: Problem): void {
    if (code !== 'RATE_LIMIT_EXCEEDED' || 'ratelimit' in headers) return;
    const fields = refusalFields(details, { legacy: this.config.legacy_headers });
    const told = exchange.responseFields.splice(0);
    exchange.responseFields.push(...told.filter(([name]) => !(name in fields)), ...Object.entries(fields));
  }

  /** Counts a token that was made up, or may be, against the address it came from; or gives Problem RATE_LIMIT_EXCEEDED. */
  countGuess(exchange: Exchange): Problem | undefined | Promise<Problem | undefined> {
    return this.guessGuard?.count(exchange);
  }

  /** The token that was counted as a guess was none. */
  takeBackGuess(exchange: Exchange): void {
    this.guessGuard?.takeBack(exchange);
  }

  /** The token that was counted as a guess was one, and it took a signature to know. */
  wrongSignature(exchange: Exchange): void {
    this.guessGuard?.wasWrong(exchange);
  }

  /** What the policies that apply to a call say to it; spends nothing. */
  async explain(call: LimitedCall): Promise<readonly Verdict[]> {
    return this.store.peek(this.asksOf(call));
  }

  /** What is left to a caller in every bucket of its own, whatever it calls next; spends nothing. */
  async left(call: LimitedCall, targets: Iterable<Target>): Promise<BucketState[]> {
    const asks: Ask[] = [];
    const rpcs: (string | undefined)[] = [];
    const all = [...targets];
    for (const { policy, concerns } of this.policies) {
      if (policy.dimensions.includes('key') && call.caller?.key === undefined) continue;
      const perMethod = policy.dimensions.includes('endpoint');
      const places = perMethod ? all.filter(concerns).slice(0, SHOWN_MAX) : [call.route.target];
      for (const target of places) {
        asks.push(askOf(policy, call, target));
        rpcs.push(perMethod ? target.method.path : undefined);
      }
    }
    const verdicts = await this.store.peek(asks);
    return verdicts.map((verdict, index) => ({ verdict, rpc: rpcs[index] }));
  }

  private asksOf(call: LimitedCall): Ask[] {
    const asks: Ask[] = [];
    for (const { policy, conditions } of this.planOf(call.route).policies) {
      if (conditions.every((holds) => holds(call))) asks.push(askOf(policy, call, call.route.target));
    }
    return asks;
  }

  private planOf(route: LimitedRoute): RoutePlan {
    let plan = this.byRoute.get(route);
    if (!plan) {
      const policies = this.policies.flatMap(({ policy, conditions }) => {
        const left = conditions(route);
        return left ? [{ policy, conditions: left }] : [];
      });
      plan = { policies, byTenant: policies.some(({ policy }) => policy.dimensions.includes('tenant')) };
      this.byRoute.set(route, plan);
    }
    return plan;
  }

  private settle(exchange: Exchange, decision: Decision | Promise<Decision>): void | Promise<void> {
    return decision instanceof Promise
      ? decision.then((settled) => this.apply(exchange, settled))
      : this.apply(exchange, decision);
  }

  /** @throws Problem RATE_LIMIT_EXCEEDED when a policy refuses */
  private apply(exchange: Exchange, decision: Decision): void {
    this.observe(exchange, decision);
    if (!decision.allowed) throw limitProblem(decision, { legacy: this.config.legacy_headers });
    exchange.debit = decision;
    const fields = limitFields(decision, { legacy: this.config.legacy_headers });
    for (const name in fields) exchange.responseFields.push([name, fields[name]!]);
  }
}

/** Pipeline stage: may this caller call now. */
export function limit(exchange: Exchange): void | Promise<void> {
  return exchange.runtime.limiter.check(exchange);
}

const values: Readonly<
  Record<Dimension, (call: Pick<LimitedCall, 'caller' | 'tenant' | 'head'>, target: LimitedTarget) => string>
> = {
  user: ({ caller }) => `${caller?.tenant ?? ''}/${caller?.subject ?? ''}`,
  key: ({ caller }) => caller?.key?.id ?? '',
  ip: ({ head }) => networkOf(head.clientAddress),
  endpoint: (_, target) => target.method.path,
  tenant: ({ tenant }) => tenant,
  global: () => '',
};

function askOf(policy: CompiledPolicy, call: LimitedCall, target: LimitedTarget): Ask {
  const { dimensions, cost, shadow } = policy;
  const key =
    dimensions.length === 1
      ? values[dimensions[0]!](call, target)
      : dimensions.map((dimension) => values[dimension](call, target)).join('|');
  return { policy, key, cost, shadow };
}
