import { performance } from 'node:perf_hooks';
import {
  newSlidingWindow,
  slidingWindowGive,
  slidingWindowRemaining,
  slidingWindowReset,
  slidingWindowTake,
  slidingWindowWait,
  type SlidingWindowState,
} from '../algorithms/sliding-window.js';
import {
  newTokenBucket,
  tokenBucketGive,
  tokenBucketRemaining,
  tokenBucketReset,
  tokenBucketTake,
  tokenBucketWait,
  type TokenBucketState,
} from '../algorithms/token-bucket.js';
import type { CompiledPolicy } from '../policy.js';
import {
  type Debit,
  type Ask,
  debitedBy,
  type DecidedBy,
  type Decision,
  decisionOf,
  type LimitStore,
  type Verdict,
} from '../store.js';
import { Generations } from './generations.js';

type State = TokenBucketState | SlidingWindowState;

export interface MemoryStoreOptions {
  /** Buckets kept for each policy; the least recently used are forgotten beyond it. Default 100 000. */
  readonly bucketsPerPolicyMax?: number;
  /** Microseconds that never go back; for tests. Default: the process's monotonic clock. */
  readonly clock?: () => number;
}

/** A store in this process. It decides without a promise. */
export interface MemoryStore extends LimitStore {
  decide(asks: readonly Ask[]): Decision;
  peek(asks: readonly Ask[]): Verdict[];
  close(): void;
  /** Buckets held at present. */
  readonly size: number;
}

const monotonicUs = () => Math.floor(performance.now() * 1000);

export function createMemoryStore(options: MemoryStoreOptions = {}): MemoryStore {
  return new Buckets(options.bucketsPerPolicyMax ?? 100_000, options.clock ?? monotonicUs, 'store');
}

/** The memory store as the stand-in for a lost shared store. */
export function createLocalMode(options: MemoryStoreOptions = {}): MemoryStore {
  return new Buckets(options.bucketsPerPolicyMax ?? 100_000, options.clock ?? monotonicUs, 'mode');
}

class Buckets implements MemoryStore {
  /** By the policy's slot. */
  readonly #byPolicy: (Generations<State> | undefined)[] = [];
  /** States and waits of the call that is being decided: decisions are synchronous, so one set serves all. */
  readonly #states: State[] = [];
  readonly #waits: number[] = [];

  constructor(
    private readonly bucketsMax: number,
    private readonly clock: () => number,
    private readonly by: DecidedBy,
  ) {}

  decide(asks: readonly Ask[]): Decision {
    const now = this.clock();
    const states = this.#states;
    const waits = this.#waits;
    let allowed = true;
    for (let i = 0; i < asks.length; i++) {
      const ask = asks[i] as Ask;
      const state = this.#use(ask.policy, ask.key, now);
      const wait = waitOf(ask.policy, state, ask.cost, now);
      states[i] = state;
      waits[i] = wait;
      if (wait > 0 && !ask.shadow) allowed = false;
    }
    const verdicts: Verdict[] = [];
    for (let i = 0; i < asks.length; i++) {
      const ask = asks[i] as Ask;
      const state = states[i] as State;
      const wait = waits[i] as number;
      if (allowed && wait === 0) take(ask.policy, state, ask.cost, now);
      verdicts.push(verdictOf(ask, state, wait, now));
    }
    return allowed ? { allowed, by: this.by, verdicts, asks, at: now } : decisionOf(asks, verdicts, this.by, now);
  }

  peek(asks: readonly Ask[]): Verdict[] {
    const now = this.clock();
    return asks.map((ask) => {
      const state = this.#byPolicy[ask.policy.slot]?.peek(ask.key) ?? newState(ask.policy);
      return verdictOf(ask, state, waitOf(ask.policy, state, ask.cost, now), now);
    });
  }

  refund(debit: Debit): void {
    const now = this.clock();
    for (const { policy, key, cost } of debitedBy(debit)) {
      const state = this.#byPolicy[policy.slot]?.peek(key);
      if (state !== undefined) give(policy, state, cost, debit.at, now);
    }
  }

  close(): void {
    this.#byPolicy.length = 0;
  }

  get size(): number {
    let size = 0;
    for (const buckets of this.#byPolicy) size += buckets?.size ?? 0;
    return size;
  }

  #use(policy: CompiledPolicy, key: string, now: number): State {
    const buckets = (this.#byPolicy[policy.slot] ??= new Generations(this.bucketsMax));
    const held = buckets.get(key, now, policy.recoveryUs);
    if (held !== undefined) return held;
    const state = newState(policy);
    buckets.set(key, state, now);
    return state;
  }
}

// The policy's algorithm says which state its buckets have, and its id keeps the two kinds apart.

function newState(policy: CompiledPolicy): State {
  return policy.algorithm === 'token_bucket' ? newTokenBucket() : newSlidingWindow();
}

function waitOf(policy: CompiledPolicy, state: State, cost: number, now: number): number {
  return policy.algorithm === 'token_bucket'
    ? tokenBucketWait(policy, state as TokenBucketState, cost, now)
    : slidingWindowWait(policy, state as SlidingWindowState, cost, now);
}

function take(policy: CompiledPolicy, state: State, cost: number, now: number): void {
  if (policy.algorithm === 'token_bucket') tokenBucketTake(policy, state as TokenBucketState, cost, now);
  else slidingWindowTake(policy, state as SlidingWindowState, cost, now);
}

function give(policy: CompiledPolicy, state: State, cost: number, takenAt: number, now: number): void {
  if (policy.algorithm === 'token_bucket') tokenBucketGive(policy, state as TokenBucketState, cost, takenAt, now);
  else slidingWindowGive(policy, state as SlidingWindowState, cost, takenAt, now);
}

function verdictOf(ask: Ask, state: State, wait: number, now: number): Verdict {
  const { policy } = ask;
  const isBucket = policy.algorithm === 'token_bucket';
  const remaining = isBucket
    ? tokenBucketRemaining(policy, state as TokenBucketState, now)
    : slidingWindowRemaining(policy, state as SlidingWindowState);
  const reset =
    remaining === 0
      ? waitOf(policy, state, 1, now)
      : isBucket
        ? tokenBucketReset(policy, state as TokenBucketState, now)
        : slidingWindowReset(policy, state as SlidingWindowState, now);
  return {
    policy,
    shadow: ask.shadow,
    refused: wait > 0,
    remaining,
    retryAfterMs: wait / 1000,
    resetMs: reset / 1000,
  };
}
