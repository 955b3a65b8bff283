import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { memoryLimit, watchResources } from './resources.js';

test.each([
  ['a container with a limit', 512, 8192, 512],
  ['none', 0, 8192, 8192],
  ['a limit that is none: the largest number of the kernel', 2 ** 63, 8192, 8192],
])('the memory limit of %s', (_, constrained, total, limit) => {
  expect(memoryLimit(constrained, total)).toBe(limit);
});

test('the event loop is counted while it is busy, and what may be used stands beside it', async () => {
  const metrics = new Registry();
  watchResources(metrics);
  const value = async (name: string) => (await metrics.getSingleMetric(name)!.get()).values[0]!.value;
  // Utilisation is known once the loop has turned.
  await new Promise((resolve) => setTimeout(resolve, 1));
  const before = await value('nodejs_eventloop_active_seconds_total');
  const started = performance.now();
  while (performance.now() - started < 50);
  const busy = (await value('nodejs_eventloop_active_seconds_total')) - before;
  expect(busy).toBeGreaterThan(0.04);
  expect(await value('process_memory_limit_bytes')).toBeGreaterThan(process.memoryUsage.rss());
  expect(await value('nodejs_heap_size_limit_bytes')).toBeGreaterThan(process.memoryUsage().heapUsed);
  expect(await value('process_cpu_cores')).toBeGreaterThanOrEqual(1);
});
