import { expect, test } from 'vitest';
import { contest, contestTable, cpuMicroseconds } from './contest.js';

function burn(milliseconds: number): void {
  const until = performance.now() + milliseconds;
  while (performance.now() < until);
}

test('work costs CPU time of the process that does it', () => {
  const before = cpuMicroseconds(process.pid);
  const { user, system } = process.cpuUsage();
  burn(100);
  const spent = process.cpuUsage({ user, system });
  const measured = cpuMicroseconds(process.pid) - before;
  expect(Math.abs(measured - spent.user - spent.system)).toBeLessThanOrEqual(20_000);
});

test('each contestant runs once a round, in turn, after a round that does not count', async () => {
  const order: string[] = [];
  const contestant = (name: string) => ({
    name,
    processes: { it: process.pid },
    run: async () => void order.push(name),
  });
  const results = await contest([contestant('a'), contestant('b')], { rounds: 2, calls: 10 });
  expect(order.join('')).toBe('ababab');
  expect(results.map(({ name }) => name)).toEqual(['a', 'b']);
});

test('the table gives the share of the first', () => {
  const table = contestTable([
    { name: 'ours', cpu: { gateway: 20 }, rate: 1000 },
    { name: 'theirs', cpu: { gateway: 80 }, rate: 500 },
  ]);
  expect(table).toBe(
    '  ours     gateway 20.0 µs   1000/s   ours is 1.00 of it\n  theirs   gateway 80.0 µs   500/s    ours is 0.25 of it',
  );
});
