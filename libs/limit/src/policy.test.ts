import { expect, test } from 'vitest';
import { compilePolicies, PolicyError, type Policy } from './index.js';

const perIp: Policy = {
  name: 'default-ip',
  dimensions: ['ip'],
  algorithm: 'sliding_window',
  limit: 100,
  windowMs: 60_000,
};

test('absent members get their defaults', () => {
  const [policy] = compilePolicies([perIp]);
  expect(policy).toMatchObject({ cost: 1, shadow: false, onStoreLoss: 'local', capacity: 100, blockedBy: 'ip' });
  expect(policy?.headerItem).toBe('"default-ip";q=100;w=60');
});

test('a burst of its own is told beside the quota', () => {
  const [policy] = compilePolicies([{ ...perIp, algorithm: 'token_bucket', burst: 20 }]);
  expect(policy?.headerItem).toBe('"default-ip";q=100;w=60;sluice-burst=20');
});

test('the time of a unit is rounded up, so that rounding never admits more', () => {
  const [policy] = compilePolicies([{ ...perIp, algorithm: 'token_bucket', limit: 7 }]);
  expect(policy?.unitUs).toBe(8_571_429);
});

test.each<[Partial<Policy>, string]>([
  [{ name: 'a b' }, 'policy "a b": name "a b": expected 1 to 64 letters'],
  [{ dimensions: [] }, 'policy "default-ip": dimensions []: expected one or more of user, key, ip'],
  [{ dimensions: ['ip', 'ip'] }, 'dimensions ["ip","ip"]'],
  [{ limit: 0 }, 'limit 0: expected a whole number from 1'],
  [{ limit: 1.5 }, 'limit 1.5: expected'],
  [{ windowMs: 0 }, 'windowMs 0: expected whole milliseconds'],
  [{ burst: 5 }, 'burst 5: expected no burst'],
  [{ algorithm: 'token_bucket', burst: 0 }, 'burst 0: expected'],
  [{ algorithm: 'token_bucket', limit: 10_000_000, windowMs: 1000 }, 'expected at most one unit a microsecond'],
  [{ cost: 101 }, 'cost 101: expected a whole number from 1 to 100'],
])('%j is refused', (change, fault) => {
  expect(() => compilePolicies([{ ...perIp, ...change }])).toThrow(fault);
});

test('all faults come at once, and names are used once', () => {
  let thrown: unknown;
  try {
    compilePolicies([perIp, { ...perIp, limit: 0, windowMs: -1 }]);
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(PolicyError);
  expect((thrown as PolicyError).faults).toHaveLength(3);
});
