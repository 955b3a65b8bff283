import { Injectable } from '@nestjs/common';
import type { accountV1 } from '@sluice/contract';
import { Problem } from '@sluice/problem';
import { type Call, currentCaller } from '@sluice/service';
import { transaction } from '@sluice/storage';
import { DataSource } from 'typeorm';
import { invalid, readText } from '../accounts/credentials.js';
import type { TenantRow } from '../admin/admin-store.js';
import { AuditLog } from '../audit/audit-log.js';
import { sessionStore } from '../sessions/session-store.js';

/** How old the export of a tenant that is deleted may be. */
const EXPORT_AGE = `interval '1 day'`;

/** What operators do with tenants, besides making them. */
@Injectable()
export class Tenants {
  constructor(
    private readonly dataSource: DataSource,
    private readonly audit: AuditLog,
  ) {}

  /** @throws Problem NOT_FOUND, INVALID_ARGUMENT */
  async update(call: Call, request: accountV1.UpdateTenantRequest): Promise<TenantRow> {
    const { tenant_id: tenant, open_registration: open } = request;
    const name = request.name === undefined ? undefined : readText(request.name, 'name', 200);
    if (name === '') throw invalid('name', 'must not be empty');
    if (name === undefined && open === undefined) throw invalid('name', 'or open_registration must be given');
    return transaction(this.dataSource, call, async (manager) => {
      const [rows] = await manager.query<[TenantRow[], number]>(
        `update tenants set name = coalesce($2, name), open_registration = coalesce($3, open_registration)
         where id = $1 and delete_at is null returning id, name, open_registration`,
        [tenant, name ?? null, open ?? null],
      );
      if (!rows[0]) throw unknownTenant();
      await this.audit.recordWithin(manager, call, { tenant, action: 'tenant.update', outcome: 'success' });
      return rows[0];
    });
  }

  /**
   * Closes the tenant and ends its sessions now; rows go when no token of theirs is good any more.
   *
   * @throws Problem NOT_FOUND, FAILED_PRECONDITION without an export
   */
  async delete(call: Call, tenant: string): Promise<void> {
    if (tenant === currentCaller().tenant) throw invalid('tenant_id', 'must not be your own tenant');
    await transaction(this.dataSource, call, async (manager) => {
      const [row] = await manager.query<{ exported: boolean }[]>(
        `select coalesce(exported_at > clock_timestamp() - ${EXPORT_AGE}, false) as exported from tenants
         where id = $1 and delete_at is null for update`,
        [tenant],
      );
      if (!row) throw unknownTenant();
      if (!row.exported) {
        throw new Problem(
          'FAILED_PRECONDITION',
          `Nothing of the tenant was exported within the last day: first GET /api/v1/admin/tenants/${tenant}/export, to its end.`,
        );
      }
      await manager.query('update tenants set delete_at = clock_timestamp(), open_registration = false where id = $1', [
        tenant,
      ]);
      const users = await manager.query<{ id: string }[]>('select id from users where tenant = $1 order by id', [
        tenant,
      ]);
      await manager.query('delete from invitations where tenant = $1', [tenant]);
      await manager.query(
        `update users set locked_at = coalesce(locked_at, clock_timestamp()), delete_at = clock_timestamp() where tenant = $1`,
        [tenant],
      );
      for (const { id } of users) await sessionStore.revokeAllWithin(manager, id, tenant, 'tenant-deleted');
      await this.audit.recordWithin(manager, call, { tenant, action: 'tenant.delete', outcome: 'success' });
    });
  }
}

export function unknownTenant(): Problem {
  return new Problem('NOT_FOUND', 'There is no such tenant.');
}
