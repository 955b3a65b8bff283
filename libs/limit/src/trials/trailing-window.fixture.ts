import fc from 'fast-check';
import type { Policy } from '../policy.js';

/** One call of a trial: how long after the previous one it comes, and what it costs. */
export interface Call {
  readonly afterUs: number;
  readonly key: number;
  readonly cost: number;
}

/** Policies of one dimension with small numbers, so that short sequences reach the limit. */
export function policies(): fc.Arbitrary<Policy> {
  return fc.record({
    name: fc.constantFrom('first', 'second'),
    dimensions: fc.constant(['ip'] as const),
    algorithm: fc.constantFrom('token_bucket', 'sliding_window'),
    limit: fc.integer({ min: 1, max: 20 }),
    windowMs: fc.integer({ min: 1, max: 5_000 }),
  });
}

/** Calls that mostly follow closely and sometimes after about a window. */
export function calls(policy: Policy): fc.Arbitrary<Call[]> {
  const windowUs = policy.windowMs * 1000;
  const afterUs = fc.oneof(
    { weight: 4, arbitrary: fc.integer({ min: 0, max: Math.ceil(windowUs / policy.limit) }) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: Math.ceil(windowUs / 64) + 1 }) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: windowUs * 2 }) },
    { weight: 1, arbitrary: fc.constant(windowUs) },
  );
  const cost = fc.oneof(
    { weight: 5, arbitrary: fc.constant(1) },
    { weight: 1, arbitrary: fc.integer({ min: 1, max: policy.limit + 1 }) },
  );
  return fc.array(fc.record({ afterUs, key: fc.integer({ min: 0, max: 1 }), cost }), { minLength: 1, maxLength: 150 });
}

/** What a policy declares for any span of one window (see policy.ts). */
export function declaredInWindow(policy: Policy): number {
  return policy.algorithm === 'sliding_window' ? policy.limit : (policy.burst ?? policy.limit) + policy.limit;
}

/** The most units admitted in any trailing window, the half-open span of a window that ends at an admission. */
export function mostInAnyWindow(admitted: readonly { at: number; cost: number }[], windowUs: number): number {
  let most = 0;
  let first = 0;
  let sum = 0;
  for (const { at, cost } of admitted) {
    sum += cost;
    while ((admitted[first] as { at: number }).at <= at - windowUs) sum -= (admitted[first++] as { cost: number }).cost;
    most = Math.max(most, sum);
  }
  return most;
}
