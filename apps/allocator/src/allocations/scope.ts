import { Inject, Injectable } from '@nestjs/common';
import { Problem } from '@sluice/problem';
import type { Caller } from '@sluice/service';
import { type AllocatorSettings, SETTINGS } from '../settings.js';
import { isPrivileged } from './allocations.js';
import { readName } from './reading.js';

/** Stands for every tenant or every subject in a request. */
const ALL = '-';

/** Whose allocations a request means; undefined: everyone's. */
export interface Scope {
  readonly tenant: string | undefined;
  readonly subject: string | undefined;
}

/** Says whose allocations a caller may look at or free besides its own. */
@Injectable()
export class Scopes {
  constructor(@Inject(SETTINGS) private readonly settings: AllocatorSettings) {}

  /** @throws Problem PERMISSION_DENIED for others', INVALID_ARGUMENT for names that cannot be */
  of(caller: Caller, asked: { readonly tenant: string; readonly subject: string }): Scope {
    const tenant = readName('tenant', asked.tenant) || caller.tenant;
    const subject = readName('subject', asked.subject) || caller.subject;
    if (tenant !== caller.tenant) this.requireOperator(caller);
    if (subject !== caller.subject && !isPrivileged(caller)) {
      throw new Problem('PERMISSION_DENIED', 'The allocations of others are for the roles service and admin.');
    }
    return {
      tenant: tenant === ALL ? undefined : tenant,
      subject: subject === ALL ? undefined : subject,
    };
  }

  /** @throws Problem PERMISSION_DENIED for another tenant than the caller's, INVALID_ARGUMENT for a name that cannot be */
  tenantOf(caller: Caller, asked: string): string {
    const tenant = readName('tenant', asked) || caller.tenant;
    if (tenant !== caller.tenant) this.requireOperator(caller);
    return tenant;
  }

  /** Whether this is an administrator of the default tenant, who looks after all of them. */
  isOperator(caller: Caller): boolean {
    return caller.tenant === this.settings.DEFAULT_TENANT && caller.roles.includes('admin');
  }

  /** @throws Problem PERMISSION_DENIED */
  requireOperator(caller: Caller): void {
    if (this.isOperator(caller)) return;
    throw new Problem(
      'PERMISSION_DENIED',
      `Other tenants, and what bounds a tenant, are for the administrators of ${this.settings.DEFAULT_TENANT}.`,
    );
  }
}
