import { Inject, Injectable } from '@nestjs/common';
import type { Call, Caller } from '@sluice/service';
import { execute, statement } from '@sluice/storage';
import { DataSource } from 'typeorm';
import { strategies, type AllocationRecord, type Strategy } from '../batch/operation.js';
import { isPrivileged, notFound } from './allocations.js';
import { readRequestId } from './reading.js';

export interface ShownRow {
  readonly request_id: string;
  readonly node_id: string;
  readonly token_count: string;
  readonly settled: string;
  readonly state: number;
  readonly strategy: number;
  readonly expires_us: string | null;
  readonly created_us: string;
  readonly reason: string | null;
  readonly cost: string;
  readonly settled_cost: string;
  readonly account: string | null;
}

/** An allocation whose lease has ended is shown as expired also when no batch has come round to it yet. */
export const SHOWN_STATE = `case when a.state = 1 and a.expires_at <= clock_timestamp() then 4 else a.state end::int`;

/** What every allocation `a` is shown by. A reason that is older is of another one that had the request id before. */
export const shownColumns = `a.request_id, a.node_id, a.token_count::text, a.settled::text, a.strategy::int, ${SHOWN_STATE} as state,
      (extract(epoch from a.expires_at) * 1000000)::bigint::text as expires_us,
      (extract(epoch from a.create_time) * 1000000)::bigint::text as created_us,
      (select r.reason from ledger_reasons r
         where r.request_id = a.request_id and r.tenant = a.tenant and r.at >= a.create_time order by r.at limit 1) as reason,
      a.cost::text, a.settled_cost::text, (select 'acc_' || c.account_id from charge_sets c where c.set_id = a.set_id) as account`;

const find = statement<ShownRow>(
  'find_allocation',
  `select ${shownColumns} from allocations a where allocation_key(a.tenant, a.request_id) = allocation_key($1, $2) and (a.subject = $3 or $4)`,
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
    return shown(row);
  }
}

export function shown(row: ShownRow): AllocationRecord {
  return {
    requestId: row.request_id,
    nodeId: row.node_id,
    tokenCount: row.token_count,
    settled: row.settled,
    state: row.state,
    strategy: strategies[row.strategy - 1] as Strategy,
    expiresUs: row.expires_us === null ? undefined : BigInt(row.expires_us),
    createdUs: BigInt(row.created_us),
    forceFreeReason: row.reason ?? undefined,
    cost: row.cost,
    settledCost: row.settled_cost,
    accountId: row.account ?? undefined,
  };
}
