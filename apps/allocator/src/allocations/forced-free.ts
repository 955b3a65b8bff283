import { Inject, Injectable } from '@nestjs/common';
import type { allocatorV1 } from '@sluice/contract';
import { type Call, type Caller, LOGGER } from '@sluice/service';
import { transaction } from '@sluice/storage';
import type { Logger } from '@sluice/telemetry';
import { DataSource } from 'typeorm';
import { kinds, resultsByCode, type AllocationRecord } from '../batch/operation.js';
import { type AllocatorSettings, SETTINGS } from '../settings.js';
import { AllocationReader } from './allocation-reader.js';
import { readReason, readRequestId } from './reading.js';
import { Scopes } from './scope.js';

/** Frees allocations of others by an operator's word, and keeps the word. */
@Injectable()
export class ForcedFree {
  constructor(
    @Inject(DataSource) private readonly dataSource: DataSource,
    @Inject(SETTINGS) private readonly settings: AllocatorSettings,
    @Inject(LOGGER) private readonly logger: Logger,
    private readonly reader: AllocationReader,
    private readonly scopes: Scopes,
  ) {}

  /**
   * One batch of its own, which waits for the nodes. What was settled for an account is spent: only administrators of the default tenant
   * give it back. An allocation that has ended already stays as it is, without a reason.
   *
   * @throws Problem NOT_FOUND, INVALID_ARGUMENT, PERMISSION_DENIED
   */
  async free(call: Call, caller: Caller, request: allocatorV1.ForceFreeRequest): Promise<AllocationRecord> {
    const requestId = readRequestId(request.request_id);
    const reason = readReason(request.reason);
    const tenant = this.scopes.tenantOf(caller, request.tenant);
    const whose = { ...caller, tenant };
    await this.reader.get(call, whose, requestId);
    await transaction(this.dataSource, call, async (manager) => {
      await manager.query(`set local lock_timeout = ${this.settings.ALLOC_LOCK_TIMEOUT_MS}`);
      const [{ codes }] = await manager.query<[{ codes: number[] | null }]>(
        `select codes from apply_operations(array[$1::int], array[$2], array[$3], array[$4], array[true], array[0::bigint],
           array[0::bigint], null, null, array[0], '{}', '{}', null, $5, false, true, true, 0)`,
        [kinds.free, tenant, requestId, caller.subject, this.scopes.isOperator(caller)],
      );
      if (resultsByCode[codes?.[0] ?? 0] === 'spent') this.scopes.requireOperator(caller);
      await manager.query(
        `insert into ledger_reasons (batch, at, tenant, request_id, actor_tenant, actor, reason)
           select l.batch, l.at, l.tenant, l.request_id, $4, $5, $6 from ledger l
             where l.batch = currval('batch_seq') and l.kind = $3 and l.tenant = $1 and l.request_id = $2`,
        [tenant, requestId, kinds.free, caller.tenant, caller.subject, reason],
      );
    });
    this.logger.warn({ tenant, request_id: requestId, by: caller.subject, reason }, 'an allocation was freed by force');
    return this.reader.get(call, whose, requestId);
  }
}
