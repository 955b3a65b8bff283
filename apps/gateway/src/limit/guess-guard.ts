import { networkOf } from '@sluice/identity';
import {
  type Ask,
  compilePolicies,
  type CompiledPolicy,
  createMemoryStore,
  type Decision,
  limitProblem,
  type LimitStore,
  type MemoryStore,
} from '@sluice/limit';
import { Problem } from '@sluice/problem';
import type { Exchange } from '../exchange.js';
import type { DecisionObserver } from './limit.js';

/** So many wrong signatures a second, over all addresses, are a storm; to check them takes some 4 % of a core. */
const STORM_PER_SECOND = 200;
/**
 * In a storm an address may show so many wrong signatures in a window, or as many as the guard says when that is less. Who makes
 * nothing up shows none: a token whose key was withdrawn is refused without a look at its signature.
 */
const IN_A_STORM = 3;
const SECOND_MS = 1000;

/** Keeps an address that makes up tokens from having their signatures checked, which is what a token costs that nobody knows. */
export class GuessGuard {
  private readonly policy: CompiledPolicy;
  /** What an address has left in a storm. It is this process that is to be spared, so it counts by itself. */
  private readonly stormPolicy: CompiledPolicy;
  private readonly wrong: MemoryStore;
  private second = 0;
  private wrongThisSecond = 0;
  private wrongLastSecond = 0;
  /** By the wait in milliseconds: a storm of refusals says the same over and over. */
  private readonly problems = new Map<number, Problem>();
  private readonly stormProblems = new Map<number, Problem>();

  constructor(
    { limit, window }: { readonly limit: number; readonly window: number },
    private readonly store: LimitStore,
    private readonly legacy: boolean,
    private readonly observe: DecisionObserver,
    /** Milliseconds that never go back. */
    private readonly clock = () => performance.now(),
  ) {
    this.policy = guardPolicy(limit, window);
    this.stormPolicy = guardPolicy(Math.min(limit, IN_A_STORM), window);
    this.wrong = createMemoryStore({ clock: () => Math.floor(clock() * 1000) });
  }

  /** Takes a unit from the address, which the exchange then holds; or says why it may not guess. */
  count(exchange: Exchange): Problem | undefined | Promise<Problem | undefined> {
    const key = networkOf(exchange.head.clientAddress);
    if (this.storms()) {
      const verdict = this.wrong.peek([ask(this.stormPolicy, key)])[0]!;
      if (verdict.refused) {
        return this.settle(exchange, {
          allowed: false,
          reason: 'over_limit',
          by: 'store',
          verdicts: [verdict],
          blockedBy: verdict,
        });
      }
    }
    const decision = this.store.decide([ask(this.policy, key)]);
    return decision instanceof Promise
      ? decision.then((decided) => this.settle(exchange, decided))
      : this.settle(exchange, decision);
  }

  /** The token was good, or had been: its unit is given back. */
  takeBack(exchange: Exchange): void {
    if (!exchange.guess) return;
    this.store.refund(exchange.guess);
    exchange.guess = undefined;
  }

  /** The token's signature was checked and wrong: its unit is gone. */
  wasWrong(exchange: Exchange): void {
    const key = exchange.guess!.asks[0]!.key;
    exchange.guess = undefined;
    this.turn();
    this.wrongThisSecond++;
    this.wrong.decide([ask(this.stormPolicy, key)]);
  }

  private settle(exchange: Exchange, decision: Decision): Problem | undefined {
    this.observe(exchange, decision);
    if (!decision.allowed) return this.problemOf(decision);
    exchange.guess = decision;
    return undefined;
  }

  private problemOf(decision: Decision & { allowed: false }): Problem {
    if (decision.reason === 'store_lost') return limitProblem(decision, { legacy: this.legacy });
    const { policy, retryAfterMs } = decision.blockedBy;
    const waitMs = coarse(retryAfterMs);
    const known = policy === this.policy ? this.problems : this.stormProblems;
    let problem = known.get(waitMs);
    if (!problem) {
      const blockedBy = { ...decision.blockedBy, retryAfterMs: waitMs, resetMs: waitMs };
      const told: Decision & { allowed: false } = { ...decision, verdicts: [blockedBy], blockedBy };
      problem = limitProblem(told, { legacy: this.legacy, lasting: true });
      known.set(waitMs, problem);
    }
    return problem;
  }

  private storms(): boolean {
    this.turn();
    return Math.max(this.wrongThisSecond, this.wrongLastSecond) >= STORM_PER_SECOND;
  }

  private turn(): void {
    const second = Math.floor(this.clock() / SECOND_MS);
    if (second === this.second) return;
    this.wrongLastSecond = second === this.second + 1 ? this.wrongThisSecond : 0;
    this.wrongThisSecond = 0;
    this.second = second;
  }
}

/** A wait with two digits that count, not shorter: still enough, and there are few of them. */
function coarse(waitMs: number): number {
  const grain = 10 ** Math.max(0, Math.floor(Math.log10(waitMs)) - 1);
  return Math.ceil(waitMs / grain) * grain;
}

function guardPolicy(limit: number, windowMs: number): CompiledPolicy {
  return compilePolicies([{ name: 'guess-guard', dimensions: ['ip'], algorithm: 'token_bucket', limit, windowMs }])[0]!;
}

function ask(policy: CompiledPolicy, key: string): Ask {
  return { policy, key, cost: 1, shadow: false };
}
