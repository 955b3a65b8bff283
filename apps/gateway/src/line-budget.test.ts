import { expect, it } from 'vitest';
import { LineBudget } from './line-budget.js';

/** How many of `count` lines may be written. */
function written(budget: LineBudget<string>, name: string, count: number, now: number): number {
  return Array.from({ length: count }, () => budget.take(name, now)).filter(Boolean).length;
}

it('lets so many lines of each kind through in a second, and counts the others', () => {
  const budget = new LineBudget<string>(3);
  expect(written(budget, 'a', 10, 5000)).toBe(3);
  expect(written(budget, 'a', 10, 5999.9)).toBe(0);
  expect(written(budget, 'b', 2, 5999.9)).toBe(2);
  expect(written(budget, 'a', 5, 6000)).toBe(3);
  expect([...budget.leftOut()]).toEqual([
    ['a', 19],
    ['b', 0],
  ]);
});

it('tells what was left out once', () => {
  const budget = new LineBudget<string>(1);
  for (const name of ['a', 'b', 'b', 'c', 'c', 'c']) budget.take(name, 0);
  expect(budget.untold()).toEqual([
    ['b', 1],
    ['c', 2],
  ]);
  expect(budget.untold()).toEqual([]);
  budget.take('c', 1);
  expect(budget.untold()).toEqual([['c', 1]]);
  expect([...budget.leftOut()]).toEqual([
    ['a', 0],
    ['b', 1],
    ['c', 3],
  ]);
});

it('a second begins with its first line, whatever came long before', () => {
  const budget = new LineBudget<string>(2);
  expect(written(budget, 'a', 1, 0)).toBe(1);
  expect(written(budget, 'a', 5, 1_000_500)).toBe(2);
  expect(written(budget, 'a', 5, 1_001_499)).toBe(0);
  expect(written(budget, 'a', 5, 1_001_500)).toBe(2);
});

it('may let none through', () => {
  const budget = new LineBudget<string>(0);
  expect(written(budget, 'a', 4, 0)).toBe(0);
  expect(budget.untold()).toEqual([['a', 4]]);
});
