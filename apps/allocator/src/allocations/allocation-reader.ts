import { Inject, Injectable } from '@nestjs/common';
import type { Call, Caller } from '@sluice/service';
import { execute, statement } from '@sluice/storage';
import { DataSource } from 'typeorm';
import { strategies, type AllocationRecord, type Strategy } from '../batch/operation.js';
import { isPrivileged, notFound } from './allocations.js';
import { readRequestId } from './reading.js';

interface Row {
  readonly node_id: string;
  readonly token_count: string;
  readonly settled: string;
  readonly state: number;
  readonly strategy: number;
  readonly expires_us: string | null;
  readonly created_us: string;
}

/** An allocation whose lease has ended is shown as expired also when no batch has come round to it yet. */
const find = statement<Row>(
  'find_allocation',
  `select node_id, token_count::text, settled::text, strategy::int,
      case when state = 1 and expires_at <= clock_timestamp() then 4 else state end::int as state,
      (extract(epoch from expires_at) * 1000000)::bigint::text as expires_us,
      (extract(epoch from create_time) * 1000000)::bigint::text as created_us
    from allocations where allocation_key(tenant, request_id) = allocation_key($1, $2) and (subject = $3 or $4)`,
);

/** Allocations as they are now, past the batches. */
@Injectable()
export class AllocationReader {
  constructor(@Inject(DataSource) private readonly dataSource: DataSource) {}

  /** @throws Problem NOT_FOUND, also for the allocations of others */
  async get(call: Call, caller: Caller, id: string): Promise<AllocationRecord> {
    const requestId = readRequestId(id);
    const values = [caller.tenant, requestId, caller.subject, isPrivileged(caller)];
    const [row] = await execute(this.dataSource, call, find, values);
    if (!row) throw notFound(requestId);
    return {
      requestId,
      nodeId: row.node_id,
      tokenCount: row.token_count,
      settled: row.settled,
      state: row.state,
      strategy: strategies[row.strategy - 1] as Strategy,
      expiresUs: row.expires_us === null ? undefined : BigInt(row.expires_us),
      createdUs: BigInt(row.created_us),
    };
  }
}
