import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  compilePolicies,
  createMemoryStore,
  type Ask,
  type CompiledPolicy,
  type Debit,
  type MemoryStore,
  type Policy,
} from '../index.js';
import { calls, declaredInWindow, mostInAnyWindow, policies } from '../trials/trailing-window.fixture.js';

const SECOND = 1_000_000;

function compiled(policy: Partial<Policy>): CompiledPolicy {
  const defaults: Policy = { name: 'p', dimensions: ['ip'], algorithm: 'sliding_window', limit: 3, windowMs: 60_000 };
  return compilePolicies([{ ...defaults, ...policy }])[0] as CompiledPolicy;
}

const ask = (policy: CompiledPolicy, key = 'a', cost = policy.cost): Ask => ({
  policy,
  key,
  cost,
  shadow: policy.shadow,
});

/** A store whose clock stands still until it is moved. */
function still(options: { bucketsPerPolicyMax?: number } = {}) {
  const time = { us: 1_000 * SECOND };
  return { time, store: createMemoryStore({ ...options, clock: () => time.us }) };
}

/** Takes what the asks cost, whether or not a shadow policy had it. */
function debit(store: MemoryStore, asks: readonly Ask[]): Debit {
  const decision = store.decide(asks);
  if (!decision.allowed) throw new Error('expected a decision that allows');
  return decision;
}

describe.each(['token_bucket', 'sliding_window'] as const)('%s', (algorithm) => {
  test('admits the limit at once, then refuses until the told wait is over, to the microsecond', () => {
    const { time, store } = still();
    const asks = [ask(compiled({ algorithm }))];
    for (let i = 0; i < 3; i++) expect(store.decide(asks).allowed).toBe(true);
    const refusal = store.decide(asks);
    if (refusal.allowed || refusal.reason !== 'over_limit') throw new Error('expected a refusal');
    const wait = refusal.blockedBy.retryAfterMs;
    expect(wait).toBe(algorithm === 'token_bucket' ? 20_000 : 60_000);
    time.us += wait * 1000 - 1;
    expect(store.decide(asks).allowed).toBe(false);
    time.us += 1;
    expect(store.decide(asks).allowed).toBe(true);
  });

  test('says what is left', () => {
    const { store } = still();
    const asks = [ask(compiled({ algorithm }))];
    expect([1, 2, 3, 4].map(() => store.decide(asks).verdicts[0]?.remaining)).toEqual([2, 1, 0, 0]);
  });

  test('a cost above the capacity never fits and says so', () => {
    const { store } = still();
    const decision = store.decide([ask(compiled({ algorithm }), 'a', 4)]);
    expect(decision).toMatchObject({ allowed: false, blockedBy: { retryAfterMs: Infinity, remaining: 3 } });
  });

  test('peek spends nothing and keeps nothing', () => {
    const { store } = still();
    const asks = [ask(compiled({ algorithm }))];
    for (let i = 0; i < 5; i++) expect(store.peek(asks)).toMatchObject([{ refused: false, remaining: 3 }]);
    expect(store.size).toBe(0);
  });

  test('a refund is there again', () => {
    const { time, store } = still();
    const asks = [ask(compiled({ algorithm }))];
    for (let i = 0; i < 3; i++) store.decide(asks);
    time.us += 61 * SECOND;
    const [taken] = [debit(store, asks), debit(store, asks), debit(store, asks)];
    store.refund(taken!);
    expect([store.decide(asks).allowed, store.decide(asks).allowed]).toEqual([true, false]);
  });

  test('a refund after its window gives nobody the units of others', () => {
    const { time, store } = still();
    const asks = [ask(compiled({ algorithm }))];
    const first = debit(store, asks);
    // A window later the first unit is back by itself, and others take all there are.
    time.us += 60 * SECOND;
    for (let i = 0; i < 3; i++) debit(store, asks);
    store.refund(first);
    expect(store.decide(asks).allowed).toBe(false);
  });

  test('a shadow policy that had no unit to take is given none back', () => {
    const { store } = still();
    const shadow = ask(compiled({ algorithm, shadow: true }));
    for (let i = 0; i < 3; i++) debit(store, [shadow]);
    store.refund(debit(store, [shadow]));
    expect(store.peek([shadow])[0]).toMatchObject({ refused: true, remaining: 0 });
  });

  test('more is refunded than was taken: the bucket is full and not fuller', () => {
    const { store } = still();
    const asks = [ask(compiled({ algorithm }))];
    const taken = debit(store, asks);
    for (let i = 0; i < 5; i++) store.refund(taken);
    expect(store.peek(asks)[0]?.remaining).toBe(3);
  });

  test('in any trailing window no more than declared is admitted, and each told wait is enough', () => {
    fc.assert(
      fc.property(
        policies().chain((policy) => fc.tuple(fc.constant({ ...policy, algorithm }), calls(policy))),
        ([declared, sequence]) => {
          const { time, store } = still();
          const policy = compiled(declared);
          const admitted: { at: number; cost: number }[][] = [[], []];
          for (const call of sequence) {
            time.us += call.afterUs;
            const asks = [ask(policy, `key${call.key}`, call.cost)];
            const decision = store.decide(asks);
            if (decision.allowed) admitted[call.key]?.push({ at: time.us, cost: call.cost });
            const wait = decision.verdicts[0]?.retryAfterMs as number;
            expect(decision.allowed).toBe(wait === 0);
            if (wait === 0 || wait === Infinity) continue;
            time.us += wait * 1000;
            expect(store.peek(asks)[0]?.refused).toBe(false);
          }
          for (const key of admitted) {
            expect(mostInAnyWindow(key, policy.windowUs)).toBeLessThanOrEqual(declaredInWindow(declared));
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

test('a token bucket with a small burst spaces what comes after it', () => {
  const { time, store } = still();
  const asks = [ask(compiled({ algorithm: 'token_bucket', limit: 60, burst: 2 }))];
  const admitted = () => [0, 1, 2].filter(() => store.decide(asks).allowed).length;
  expect(admitted()).toBe(2);
  time.us += SECOND;
  expect(admitted()).toBe(1);
  time.us += 3600 * SECOND;
  expect(admitted()).toBe(2);
});

describe('several policies of one call', () => {
  const policies = compilePolicies([
    { name: 'ip', dimensions: ['ip'], algorithm: 'sliding_window', limit: 2, windowMs: 10_000 },
    { name: 'user', dimensions: ['user'], algorithm: 'token_bucket', limit: 5, windowMs: 60_000 },
    { name: 'tenant', dimensions: ['tenant'], algorithm: 'sliding_window', limit: 100, windowMs: 60_000 },
  ]);
  const asks = policies.map((policy) => ask(policy, `${policy.name}-1`));

  test('one refuses: no other is debited', () => {
    const { store } = still();
    const decisions = [1, 2, 3, 4].map(() => store.decide(asks));
    expect(decisions.map((decision) => decision.allowed)).toEqual([true, true, false, false]);
    expect(decisions[3]).toMatchObject({ blockedBy: { policy: { name: 'ip' } } });
    expect(store.peek(asks).map((verdict) => verdict.remaining)).toEqual([0, 3, 98]);
  });

  test('several refuse: the longest wait blocks', () => {
    const { store } = still();
    const [ip, user] = asks as [Ask, Ask];
    for (let i = 0; i < 5; i++) store.decide([user]);
    for (let i = 0; i < 2; i++) store.decide([ip]);
    expect(store.decide(asks)).toMatchObject({ blockedBy: { policy: { name: 'user' }, retryAfterMs: 12_000 } });
  });

  test('a tenant that floods leaves another tenant full', () => {
    const { store } = still({ bucketsPerPolicyMax: 10 });
    const tenant = policies[2] as CompiledPolicy;
    for (let i = 0; i < 500; i++) store.decide([ask(tenant, 'loud')]);
    expect(store.decide([ask(tenant, 'quiet')])).toMatchObject({ allowed: true, verdicts: [{ remaining: 99 }] });
  });

  test('a flood of addresses does not evict the buckets of another policy', () => {
    const { store } = still({ bucketsPerPolicyMax: 10 });
    const [ip, user] = policies as [CompiledPolicy, CompiledPolicy];
    for (let i = 0; i < 5; i++) store.decide([ask(user)]);
    for (let i = 0; i < 500; i++) store.decide([ask(ip, `address-${i}`)]);
    expect(store.decide([ask(user)]).allowed).toBe(false);
  });
});

describe('shadow', () => {
  test('never blocks, and says that it would have', () => {
    const { store } = still();
    const asks = [ask(compiled({ shadow: true, limit: 1 }))];
    expect([1, 2, 3].map(() => store.decide(asks).allowed)).toEqual([true, true, true]);
    expect(store.decide(asks).verdicts).toMatchObject([{ shadow: true, refused: true }]);
  });

  test('is not debited when an enforced policy refuses', () => {
    const { store } = still();
    const asks = [ask(compiled({ name: 'trial', shadow: true })), ask(compiled({ name: 'real', limit: 1 }))];
    for (let i = 0; i < 3; i++) store.decide(asks);
    expect(store.peek(asks)[0]?.remaining).toBe(2);
  });
});

describe('memory', () => {
  test('never holds more than its bound', () => {
    const { store } = still({ bucketsPerPolicyMax: 100 });
    const policy = compiled({});
    for (let i = 0; i < 1000; i++) store.decide([ask(policy, `k${i}`)]);
    expect(store.size).toBeLessThanOrEqual(100);
  });

  test('a bucket in use survives a flood of others', () => {
    const { store } = still({ bucketsPerPolicyMax: 100 });
    const policy = compiled({});
    for (let i = 0; i < 3; i++) store.decide([ask(policy, 'busy')]);
    for (let i = 0; i < 1000; i++) {
      store.decide([ask(policy, `k${i}`)]);
      if (i % 40 === 0) expect(store.decide([ask(policy, 'busy')]).allowed).toBe(false);
    }
  });

  test('what has recovered is forgotten as others come', () => {
    const { time, store } = still();
    const policy = compiled({});
    for (let i = 0; i < 1000; i++) store.decide([ask(policy, `k${i}`)]);
    for (let i = 0; i < 3; i++) {
      time.us += 60 * SECOND;
      store.decide([ask(policy, 'late')]);
    }
    expect(store.size).toBe(1);
  });

  test('a policy whose numbers change keeps its buckets', () => {
    const { store } = still();
    for (let i = 0; i < 3; i++) store.decide([ask(compiled({ limit: 5 }))]);
    expect(store.decide([ask(compiled({ limit: 4 }))]).allowed).toBe(true);
    expect(store.decide([ask(compiled({ limit: 4 }))]).allowed).toBe(false);
  });
});
