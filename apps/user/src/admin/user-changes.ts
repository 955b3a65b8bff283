import { Injectable } from '@nestjs/common';
import { Problem } from '@sluice/problem';
import { type Call, currentCaller } from '@sluice/service';
import { transaction } from '@sluice/storage';
import { DataSource, type EntityManager } from 'typeorm';
import type { UserRow } from '../accounts/account-store.js';
import { invalid } from '../accounts/credentials.js';
import { type AuditAction, AuditLog } from '../audit/audit-log.js';
import { type RevocationCause, sessionStore } from '../sessions/session-store.js';
import { UUID } from '../sessions/sessions.js';
import { adminStore } from './admin-store.js';

const ROLE = /^[a-z0-9_.-]{1,64}$/;
const ROLES_MAX = 20;
/** Held by the gateway itself; no account has it. */
const GATEWAY_ROLE = 'gateway';
export const OPERATOR_ROLE = 'operator';

/** A change of one user by an administrator. */
export interface UserChange {
  readonly tenant: string;
  readonly userId: string;
  readonly action: AuditAction;
  /** Why the user's sessions end; undefined: they do not. */
  readonly because?: RevocationCause | undefined;
  /** @returns undefined when the tenant has no such user */
  readonly update: (manager: EntityManager) => Promise<UserRow | undefined>;
}

/** What administrators may do to users, in one place. */
@Injectable()
export class UserChanges {
  constructor(
    private readonly dataSource: DataSource,
    private readonly audit: AuditLog,
  ) {}

  /**
   * Changes one user of a tenant, ends the user's sessions when there is a cause, and records it; all or nothing.
   *
   * @throws Problem NOT_FOUND; PERMISSION_DENIED where the user is an operator and the caller is none
   */
  change(call: Call, { tenant, userId, action, because, update }: UserChange): Promise<UserRow> {
    if (!UUID.test(userId)) throw unknownUser();
    const byOperator = isOperator();
    return transaction(this.dataSource, call, async (manager) => {
      const roles = await adminStore.holdRoles(manager, tenant, userId);
      if (roles?.includes(OPERATOR_ROLE) && !byOperator) throw onlyOperators();
      const changed = await update(manager);
      if (!changed) throw unknownUser();
      if (because) await sessionStore.revokeAllWithin(manager, userId, tenant, because);
      await this.audit.recordWithin(manager, call, { tenant, action, outcome: 'success', subject: userId });
      return changed;
    });
  }
}

export function isOperator(): boolean {
  return currentCaller().roles.includes(OPERATOR_ROLE);
}

/**
 * The tenant that an administrator means; another than the own one is for operators.
 *
 * @throws Problem PERMISSION_DENIED
 */
export function tenantMeant(asked: string, doing: string): string {
  const { tenant } = currentCaller();
  if (asked === '' || asked === tenant) return tenant;
  if (!isOperator()) throw new Problem('PERMISSION_DENIED', `Only an operator ${doing} in another tenant.`);
  return asked;
}

/** Roles to be given, each once and in order. @throws Problem INVALID_ARGUMENT, PERMISSION_DENIED */
export function readRoles(asked: readonly string[]): string[] {
  const roles = [...new Set(asked)].toSorted();
  const acceptable = roles.every((role) => ROLE.test(role) && role !== GATEWAY_ROLE);
  if (!acceptable || roles.length > ROLES_MAX) throw invalid('roles', `must be at most ${ROLES_MAX} names of roles`);
  if (roles.includes(OPERATOR_ROLE) && !isOperator()) throw onlyOperators();
  return roles;
}

export function onlyOperators(): Problem {
  return new Problem('PERMISSION_DENIED', 'Only an operator makes, changes, locks or unlocks an operator.');
}

export function unknownUser(): Problem {
  return new Problem('NOT_FOUND', 'The tenant has no such user.');
}
