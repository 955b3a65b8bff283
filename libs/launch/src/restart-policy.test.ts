import { expect, test } from 'vitest';
import { restartPolicy } from './restart-policy.js';

test('waits longer each time, then gives up', () => {
  const next = restartPolicy({ delaysMs: [1, 2, 4], windowMs: 100 }, () => 0);
  expect([next(), next(), next(), next()]).toEqual([1, 2, 4, undefined]);
});

test('deaths that are long ago no longer count', () => {
  let time = 0;
  const next = restartPolicy({ delaysMs: [1, 2], windowMs: 100 }, () => time);
  expect([next(), next()]).toEqual([1, 2]);
  time = 100;
  expect(next()).toBe(1);
});
