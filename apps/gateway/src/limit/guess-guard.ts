import { networkOf } from '@sluice/identity';
import {
  type Ask,
  compilePolicies,
  type CompiledPolicy,
  createMemoryStore,
  type Decision,
  limitProblem,
  type LimitStore,
} from '@sluice/limit';
import { Problem } from '@sluice/problem';
import type { Exchange } from '../exchange.js';
import type { DecisionObserver } from './limit.js';

/** So many wrong guesses a second, over all addresses, are a storm: their signatures take a thirtieth of a core. */
const STORM_PER_SECOND = 200;
/** In a storm an address may guess wrong so often in a window, or as often as the guard says when that is less. */
const IN_A_STORM = 10;
const SECOND_MS = 1000;
const PROBLEMS_MAX = 1000;

/** Keeps an address that makes up tokens from having their signatures checked, which is what a token costs that nobody knows. */
export class GuessGuard {
  private readonly policy: CompiledPolicy;
  /** What an address has left in a storm. It is this process that is to be spared, so it counts by itself. */
  private readonly stormPolicy: CompiledPolicy;
  private readonly wrong = createMemoryStore();
  private second = 0;
  private wrongThisSecond = 0;
  private wrongLastSecond = 0;
  /** By the wait and what is left; a storm of refusals says the same over and over. */
  private readonly problems = new Map<string, Problem>();

  constructor(
    limit: number,
    windowMs: number,
    private readonly store: LimitStore,
    private readonly legacy: boolean,
    private readonly observe: DecisionObserver,
  ) {
    this.policy = guardPolicy(limit, windowMs);
    this.stormPolicy = guardPolicy(Math.min(limit, IN_A_STORM), windowMs);
  }

  /** Takes a unit from the address, which the exchange then holds; or says why it may not guess. */
  count(exchange: Exchange): Problem | undefined | Promise<Problem | undefined> {
    const key = networkOf(exchange.head.clientAddress);
    if (this.storms()) {
      const verdict = this.wrong.peek([ask(this.stormPolicy, key)])[0]!;
      if (verdict.refused) {
        return this.settle(
          exchange,
          { allowed: false, reason: 'over_limit', by: 'store', verdicts: [verdict], blockedBy: verdict },
          undefined,
        );
      }
    }
    const asks = [ask(this.policy, key)];
    const decision = this.store.decide(asks);
    return decision instanceof Promise
      ? decision.then((decided) => this.settle(exchange, decided, asks))
      : this.settle(exchange, decision, asks);
  }

  /** The token was good, or had been: its unit is given back. */
  takeBack(exchange: Exchange): void {
    if (!exchange.guess) return;
    this.store.refund(exchange.guess);
    exchange.guess = undefined;
  }

  /** The token was made up: its unit is gone. */
  wasWrong(exchange: Exchange): void {
    const key = exchange.guess![0]!.key;
    exchange.guess = undefined;
    this.turn();
    this.wrongThisSecond++;
    this.wrong.decide([ask(this.stormPolicy, key)]);
  }

  private settle(exchange: Exchange, decision: Decision, asks: readonly Ask[] | undefined): Problem | undefined {
    this.observe(exchange, decision);
    if (!decision.allowed) return this.problemOf(decision);
    exchange.guess = asks;
    return undefined;
  }

  private problemOf(decision: Decision & { allowed: false }): Problem {
    const verdict = decision.verdicts[0];
    if (!verdict) return limitProblem(decision, { legacy: this.legacy });
    const key = `${verdict.policy.limit} ${Math.ceil(verdict.retryAfterMs)} ${verdict.remaining}`;
    let problem = this.problems.get(key);
    if (!problem) {
      problem = limitProblem(decision, { legacy: this.legacy, lasting: true });
      if (this.problems.size >= PROBLEMS_MAX) this.problems.clear();
      this.problems.set(key, problem);
    }
    return problem;
  }

  private storms(): boolean {
    this.turn();
    return Math.max(this.wrongThisSecond, this.wrongLastSecond) >= STORM_PER_SECOND;
  }

  private turn(): void {
    const second = Math.floor(performance.now() / SECOND_MS);
    if (second === this.second) return;
    this.wrongLastSecond = second === this.second + 1 ? this.wrongThisSecond : 0;
    this.wrongThisSecond = 0;
    this.second = second;
  }
}

function guardPolicy(limit: number, windowMs: number): CompiledPolicy {
  return compilePolicies([{ name: 'guess-guard', dimensions: ['ip'], algorithm: 'token_bucket', limit, windowMs }])[0]!;
}

function ask(policy: CompiledPolicy, key: string): Ask {
  return { policy, key, cost: 1, shadow: false };
}
