import { describe, expect, test } from 'vitest';
import {
  compilePolicies,
  createMemoryStore,
  limitFields,
  limitProblem,
  refusalFields,
  type Ask,
  type CompiledPolicy,
  type Decision,
} from '../index.js';

const policies = compilePolicies([
  { name: 'per-ip', dimensions: ['ip'], algorithm: 'sliding_window', limit: 2, windowMs: 10_000 },
  { name: 'per-user', dimensions: ['user', 'ip'], algorithm: 'token_bucket', limit: 2, windowMs: 60_000, burst: 1 },
  { name: 'trial', dimensions: ['global'], algorithm: 'sliding_window', limit: 1, windowMs: 1_000, shadow: true },
]) as [CompiledPolicy, CompiledPolicy, CompiledPolicy];

function decide(times: number, chosen: readonly CompiledPolicy[] = policies): Decision {
  const clock = { us: 5_000_000 };
  const store = createMemoryStore({ clock: () => clock.us });
  const asks = chosen.map((policy): Ask => ({ policy, key: 'k', cost: 1, shadow: policy.shadow }));
  let decision = store.decide(asks);
  for (let i = 1; i < times; i++) {
    clock.us += 100_000;
    decision = store.decide(asks);
  }
  return decision;
}

describe('fields', () => {
  test('of an allowed call: each policy with its quota and what is left, no shadow, no Retry-After', () => {
    expect(limitFields(decide(1))).toEqual({
      'ratelimit-policy': '"per-ip";q=2;w=10, "per-user";q=2;w=60;sluice-burst=1',
      ratelimit: '"per-ip";r=1;t=10, "per-user";r=0;t=30',
    });
  });

  test('of a refusal: the refusing policy alone, and no effective window beyond Retry-After', () => {
    expect(limitFields(decide(2))).toEqual({
      'ratelimit-policy': '"per-ip";q=2;w=10, "per-user";q=2;w=60;sluice-burst=1',
      ratelimit: '"per-user";r=0;t=30',
      'retry-after': '30',
    });
  });

  test('the legacy fields by option, of the policy that blocks', () => {
    expect(limitFields(decide(2), { legacy: true })).toMatchObject({
      'x-ratelimit-limit': '2',
      'x-ratelimit-remaining': '0',
      'x-ratelimit-reset': '30',
    });
  });

  test('nothing is said when nothing was limited', () => {
    expect(limitFields({ allowed: true, by: 'store', verdicts: [], asks: [], at: 0 }, { legacy: true })).toEqual({});
  });
});

describe('fields of a refusal by another service', () => {
  const details = { blocked_by: 'ip', policy: 'guest-minute', limit: 10, window_seconds: 60, retry_after_ms: 41_200 };

  test('tell its policy as if it were one of ours', () => {
    expect(refusalFields(details)).toEqual({
      'ratelimit-policy': '"guest-minute";q=10;w=60',
      ratelimit: '"guest-minute";r=0;t=42',
    });
    expect(refusalFields(details, { legacy: true })).toMatchObject({
      'x-ratelimit-limit': '10',
      'x-ratelimit-remaining': '0',
      'x-ratelimit-reset': '42',
    });
  });

  test.each([
    [{ policy: 'a"; b' }],
    [{ policy: 7 }],
    [{ limit: 'many' }],
    [{ window_seconds: -1 }],
    [{ retry_after_ms: null }],
  ])('are none when it does not say what they need: %o', (over) => {
    expect(refusalFields({ ...details, ...over }, { legacy: true })).toEqual({});
  });
});

describe('problem', () => {
  test('names what blocked, its numbers and the wait', () => {
    const decision = decide(2);
    if (decision.allowed) throw new Error('expected a refusal');
    const problem = limitProblem(decision);
    expect(problem).toMatchObject({
      code: 'RATE_LIMIT_EXCEEDED',
      status: 429,
      message: 'Policy per-user allows 2 in 60 s for each user and ip. Try again in 30 s.',
      details: { blocked_by: 'user', policy: 'per-user', limit: 2, window_seconds: 60, retry_after_ms: 29_900 },
      headers: { 'retry-after': '30' },
    });
  });

  test('lists the others that refuse too', () => {
    const clock = { us: 0 };
    const store = createMemoryStore({ clock: () => clock.us });
    const [ip, user] = policies.map((policy): Ask => ({ policy, key: 'k', cost: 1, shadow: false })) as [Ask, Ask];
    store.decide([ip]);
    store.decide([ip]);
    store.decide([user]);
    const decision = store.decide([ip, user]);
    if (decision.allowed) throw new Error('expected a refusal');
    expect(limitProblem(decision).details).toMatchObject({
      blocked_by: 'user',
      others: [{ blocked_by: 'ip', policy: 'per-ip', retry_after_ms: 10_000 }],
    });
  });

  test('a lost store and a closed policy: 503 with a time to come again', () => {
    const decision = {
      allowed: false,
      reason: 'store_lost',
      by: 'mode',
      verdicts: [],
      policy: policies[0],
      retryAfterMs: 200,
    } as const;
    expect(limitProblem(decision)).toMatchObject({ code: 'UNAVAILABLE', headers: { 'retry-after': '1' } });
  });
});
