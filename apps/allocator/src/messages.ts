import type { allocatorV1 } from '@sluice/contract';
import { INT64_MAX } from './allocations/limits.js';
import type { AllocationPage } from './allocations/allocation-list.js';
import type { AllocationRecord } from './batch/operation.js';
import type { NodeRecord, UsageRecord } from './nodes/nodes.js';
import type { StrategySetting } from './strategy/strategy-setting.js';

/** Records in the form of the contract. */

export function toAllocation(record: AllocationRecord): allocatorV1.Allocation {
  return {
    request_id: record.requestId,
    node_id: record.nodeId,
    token_count: record.tokenCount,
    state: record.state,
    strategy: record.strategy,
    expires_at: record.expiresUs === undefined ? undefined : toTimestamp(record.expiresUs),
    settled: record.settled,
    create_time: toTimestamp(record.createdUs),
    force_free_reason: record.forceFreeReason,
  };
}

export function toAllocationPage({ allocations, nextPageToken }: AllocationPage): allocatorV1.ListAllocationsResponse {
  return {
    allocations: allocations.map((record) => ({
      ...toAllocation(record),
      tenant: record.tenant,
      subject: record.subject,
    })),
    next_page_token: nextPageToken,
  };
}

export function toNode(record: NodeRecord): allocatorV1.Node {
  return {
    node_id: record.nodeId,
    capacity: record.capacity,
    used: record.used,
    remaining: record.remaining,
    state: record.state,
  };
}

export function toUsage({ nodes, strategy }: UsageRecord): allocatorV1.Usage {
  return {
    nodes: nodes.map(toNode),
    capacity: total(nodes.map(({ capacity }) => capacity)),
    used: total(nodes.map(({ used }) => used)),
    remaining: total(nodes.map(({ remaining }) => remaining)),
    strategy,
  };
}

export function toStrategy(setting: StrategySetting): allocatorV1.StrategySetting {
  return { strategy: setting.strategy, large_request_tokens: setting.largeRequestTokens };
}

/** Capacities together fit an int64; what is used may exceed it after nodes were shrunk, and stops there. */
function total(counts: readonly string[]): string {
  const sum = counts.reduce((sofar, count) => sofar + BigInt(count), 0n);
  return String(sum > INT64_MAX ? INT64_MAX : sum);
}

function toTimestamp(us: bigint) {
  return { seconds: String(us / 1_000_000n), nanos: Number(us % 1_000_000n) * 1000 };
}
