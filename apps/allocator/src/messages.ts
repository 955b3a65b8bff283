import type { allocatorV1 } from '@sluice/contract';
import { INT64_MAX } from './allocations/limits.js';
import type { AllocationPage } from './allocations/allocation-list.js';
import type { AllocationRecord, LimitState } from './batch/operation.js';
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
    account: record.accountId ?? '',
    cost_micros: record.cost ?? '0',
    settled_cost_micros: record.settledCost ?? '0',
    warnings: (record.warnings ?? []).map(toWarning),
  };
}

function toWarning(limit: LimitState): allocatorV1.LimitWarning {
  return {
    account: limit.account,
    limit_id: limit.limitId,
    unit: limit.unit,
    period: limit.period,
    used: limit.used,
    ceiling: limit.ceiling,
    resets_at: limit.endsUs === undefined ? undefined : toTimestamp(limit.endsUs),
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
    pool: record.pool,
    window_limit: record.windowLimit,
    window_seconds: record.windowSeconds,
    window_remaining: record.windowRemaining,
    rest_until: record.restUntilUs === null ? undefined : toTimestamp(BigInt(record.restUntilUs)),
    rest_reason: record.restReason,
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
