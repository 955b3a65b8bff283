import { Injectable } from '@nestjs/common';
import { type Caller, execute, statement } from '@sluice/storage';
import { DataSource } from 'typeorm';

/** What waits of all tenants that do not exist; no tenant can have this name. */
const UNKNOWN_TENANT = '?';
/** Tenants that are remembered; the one that was found first is forgotten first. */
const REMEMBERED_MAX = 10_000;

const findTenant = statement<{ id: string }>('tenant-find', `select id from tenants where id = $1`);

/** Whose share of the queue for passwords a call takes: a tenant's, or that of all tenants that somebody made up. */
@Injectable()
export class KnownTenants {
  private readonly remembered = new Set<string>();

  constructor(private readonly dataSource: DataSource) {}

  async shareOf(call: Caller, tenant: string): Promise<string> {
    const { remembered } = this;
    if (remembered.has(tenant)) return tenant;
    const [found] = await execute(this.dataSource, call, findTenant, [tenant]);
    if (!found) return UNKNOWN_TENANT;
    remembered.add(tenant);
    if (remembered.size > REMEMBERED_MAX) {
      const [oldest] = remembered;
      remembered.delete(oldest!);
    }
    return tenant;
  }
}
