import { expect, it } from 'vitest';
import { timeIsOver } from './problem.js';

it.each([
  [2, -1, true],
  [1, -1, true],
  [13, 2, true],
  [2, 1000, false],
  [5, -1, false],
  [14, -1, false],
  [2, Infinity, false],
])('status %i with %i ms left until the deadline: over is %s', (code, left, over) => {
  expect(timeIsOver(code, Date.now() + left, '')?.code).toBe(over ? 'DEADLINE_EXCEEDED' : undefined);
});
