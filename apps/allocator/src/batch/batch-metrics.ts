import { Counter, Gauge, Histogram, type Logger, type Registry } from '@sluice/telemetry';
import type { GroupCommit, GroupCommitEvents } from './group-commit.js';

/** What the group commit tells of itself. */
export function batchEvents(metrics: Registry, logger: Logger): GroupCommitEvents {
  const registers = [metrics];
  const size = new Histogram({
    name: 'allocator_batch_operations',
    help: 'Operations committed together',
    buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096],
    registers,
  });
  const duration = new Histogram({
    name: 'allocator_batch_seconds',
    help: 'Time from sending a batch to the answer after its commit',
    labelNames: ['wait'],
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
    registers,
  });
  const failures = new Counter({
    name: 'allocator_batch_failures_total',
    help: 'Batches that were not applied, by what is known of them',
    labelNames: ['kind'],
    registers,
  });
  const refused = new Counter({
    name: 'allocator_overloaded_total',
    help: 'Calls refused because too many waited or one waited too long',
    registers,
  });
  return {
    batch(operations, wait, seconds) {
      size.observe(operations);
      duration.observe({ wait: String(wait) }, seconds);
    },
    failed(failure, operations) {
      failures.inc({ kind: failure.kind });
      const level = failure.kind === 'refused' ? 'error' : 'warn';
      logger[level]({ err: failure, operations }, 'a batch was not applied');
    },
    refused: () => refused.inc(),
  };
}

/** Settlements above their reservation that were charged. */
export function overrunCounter(metrics: Registry): (count: number) => void {
  const overruns = new Counter({
    name: 'allocator_overruns_total',
    help: 'Settlements that were charged above what was reserved',
    registers: [metrics],
  });
  return (count) => overruns.inc(count);
}

export function watchQueue(metrics: Registry, groupCommit: GroupCommit): Gauge {
  return new Gauge({
    name: 'allocator_waiting_calls',
    help: 'Calls that wait for a commit',
    registers: [metrics],
    collect() {
      this.set(groupCommit.waitingCount);
    },
  });
}
