import { availableParallelism, totalmem } from 'node:os';
import { performance } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';
import { Counter, Gauge, type Registry } from 'prom-client';

/**
 * What a process may use of its machine, beside what it uses: alerts compare the two.
 *
 * The busy time of the event loop is not CPU time: threads of the platform (argon2, compression, garbage collection) use CPU without
 * it, and a loop that is busy all the time is late for every call, whatever the other cores do.
 */
export function watchResources(metrics: Registry): void {
  const registers = [metrics];
  new Gauge({
    name: 'process_memory_limit_bytes',
    help: 'Memory that the process may use: the limit of its container, or the memory of the machine',
    registers,
  }).set(memoryLimit(process.constrainedMemory(), totalmem()));
  new Gauge({
    name: 'nodejs_heap_size_limit_bytes',
    help: 'The heap that ends the process when it is full (--max-old-space-size)',
    registers,
  }).set(getHeapStatistics().heap_size_limit);
  new Gauge({
    name: 'process_cpu_cores',
    help: 'Cores that the process may use',
    registers,
  }).set(availableParallelism());
  new Counter({
    name: 'nodejs_eventloop_active_seconds_total',
    help: 'Time for which the event loop was busy; its rate is 1 when it is never idle',
    registers,
    collect() {
      this.reset();
      this.inc(performance.eventLoopUtilization().active / 1000);
    },
  });
}

/** @param constrained what the platform says of the limit: 0, or more than there is, without one */
export function memoryLimit(constrained: number, total: number): number {
  return constrained > 0 ? Math.min(constrained, total) : total;
}
