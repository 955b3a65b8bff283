import { randomBytes, randomUUID } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import type { accountV1 } from '@sluice/contract';
import { Problem } from '@sluice/problem';
import { type Call, currentCaller } from '@sluice/service';
import { transaction } from '@sluice/storage';
import { DataSource, type EntityManager } from 'typeorm';
import { accountStore, userColumns, type UserRow } from '../accounts/account-store.js';
import { DISPLAY_NAME_CHARACTERS_MAX } from '../accounts/accounts.js';
import { invalid, readPassword, readText } from '../accounts/credentials.js';
import { readEmail } from '../accounts/email.js';
import { PasswordStrength } from '../accounts/password-strength.js';
import { adminStore } from '../admin/admin-store.js';
import {
  isOperator,
  onlyOperators,
  OPERATOR_ROLE,
  readRoles,
  tenantMeant,
  unknownUser,
  UserChanges,
} from '../admin/user-changes.js';
import { AuditLog } from '../audit/audit-log.js';
import { Outbox } from '../mail/outbox.js';
import { PasswordChange } from '../passwords/password-change.js';
import { type SessionRow, sessionStore } from '../sessions/session-store.js';
import { UUID } from '../sessions/sessions.js';

/** A password that nobody knows. */
const unguessable = () => randomBytes(32).toString('base64url');

/** What administrators do with the accounts of others, besides locks and roles. */
@Injectable()
export class Members {
  constructor(
    private readonly dataSource: DataSource,
    private readonly changes: UserChanges,
    private readonly change: PasswordChange,
    private readonly strength: PasswordStrength,
    private readonly outbox: Outbox,
    private readonly audit: AuditLog,
  ) {}

  /** @throws Problem INVALID_ARGUMENT, ALREADY_EXISTS, NOT_FOUND for a tenant that does not exist */
  async create(call: Call, request: accountV1.CreateUserRequest): Promise<UserRow> {
    const email = readEmail(request.email);
    const displayName = readText(request.display_name, 'display_name', DISPLAY_NAME_CHARACTERS_MAX);
    const tenant = tenantMeant(request.tenant, 'makes accounts');
    const roles = readRoles(request.roles);
    const mailed = request.password === '';
    if (mailed) this.outbox.require();
    else await this.strength.check(readPassword(request.password), [email.text, displayName]);
    const passwordHash = await this.change.hash(call, tenant, mailed ? unguessable() : readPassword(request.password));
    const row = await transaction(this.dataSource, call, async (manager) => {
      const tenants = await manager.query<unknown[]>('select from tenants where id = $1 and delete_at is null', [
        tenant,
      ]);
      if (tenants.length === 0) throw new Problem('NOT_FOUND', 'There is no such tenant.');
      const [made] = await manager.query<UserRow[]>(
        `insert into users (id, tenant, email, email_key, password_hash, display_name, roles, password_expired)
         values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (tenant, email_key) do nothing returning ${userColumns}`,
        [randomUUID(), tenant, email.text, email.key, passwordHash, displayName, roles, !mailed],
      );
      if (!made) throw new Problem('ALREADY_EXISTS', 'There is an account with this e-mail address.');
      if (mailed) await this.outbox.add(manager, { kind: 'welcome', tenant, owner: made.id, email });
      const subject = made.id;
      await this.audit.recordWithin(manager, call, { tenant, action: 'account.create', outcome: 'success', subject });
      return made;
    });
    this.outbox.wake();
    return row;
  }

  async setPassword(call: Call, request: accountV1.SetPasswordRequest): Promise<UserRow> {
    const password = readPassword(request.password);
    const user = await this.find(call, request.user_id);
    // Before the hash: what is not allowed must cost nothing.
    if (user.roles.includes(OPERATOR_ROLE) && !isOperator()) throw onlyOperators();
    if (user.guest) throw invalid('user_id', 'must not be a guest: guests have no password');
    await this.strength.check(password, [user.email ?? '', user.display_name]);
    const passwordHash = await this.change.hash(call, user.tenant, password);
    const { tenant, id } = user;
    const row = await this.changes.change(call, {
      tenant,
      userId: id,
      action: 'password.set',
      because: 'password-changed',
      update: (manager) =>
        this.replace(manager, tenant, id, { passwordHash, expired: !request.permanent, mail: 'password-changed' }),
    });
    this.outbox.wake();
    return row;
  }

  expirePassword(call: Call, userId: string): Promise<UserRow> {
    const { tenant } = currentCaller();
    return this.changes.change(call, {
      tenant,
      userId,
      action: 'password.expire',
      because: 'password-changed',
      update: async (manager) => {
        const [rows] = await manager.query<[UserRow[], number]>(
          `update users set password_expired = true where tenant = $1 and id = $2 and not guest returning ${userColumns}`,
          [tenant, userId],
        );
        return rows[0];
      },
    });
  }

  async withdrawPassword(call: Call, userId: string): Promise<UserRow> {
    this.outbox.require();
    const { tenant } = currentCaller();
    const passwordHash = await this.change.hash(call, tenant, unguessable());
    const row = await this.changes.change(call, {
      tenant,
      userId,
      action: 'password.withdraw',
      because: 'password-changed',
      update: (manager) => this.replace(manager, tenant, userId, { passwordHash, expired: false, mail: 'withdrawn' }),
    });
    this.outbox.wake();
    return row;
  }

  async sessionsOf(call: Call, userId: string): Promise<SessionRow[]> {
    const { tenant, id } = await this.find(call, userId);
    return sessionStore.list(this.dataSource, call, id, tenant);
  }

  /** @returns how many have ended. @throws Problem NOT_FOUND for a user or a session that is not there */
  async endSessions(call: Call, userId: string, sessionId: string): Promise<number> {
    const { tenant, id, roles } = await this.find(call, userId);
    if (roles.includes(OPERATOR_ROLE) && !isOperator()) throw onlyOperators();
    if (sessionId === '') {
      return transaction(this.dataSource, call, async (manager) => {
        const ended = await sessionStore.revokeAllWithin(manager, id, tenant, 'ended-by-admin');
        const event = { tenant, action: 'session.revoke', outcome: 'everywhere', subject: id } as const;
        await this.audit.recordWithin(manager, call, event);
        return ended;
      });
    }
    const known = UUID.test(sessionId) && (await sessionStore.belongsTo(this.dataSource, call, sessionId, id, tenant));
    if (!known) throw new Problem('NOT_FOUND', 'The user has no such session.');
    if (!(await sessionStore.revoke(this.dataSource, call, sessionId, 'ended-by-admin'))) return 0;
    await this.audit.record(call, { tenant, action: 'session.revoke', outcome: 'success', subject: id, sessionId });
    return 1;
  }

  /** Changes what the caller is called. */
  async rename(call: Call, text: string): Promise<UserRow> {
    const { tenant, subject } = currentCaller();
    const name = readText(text, 'display_name', DISPLAY_NAME_CHARACTERS_MAX);
    return transaction(this.dataSource, call, async (manager) => {
      const row = await adminStore.rename(manager, tenant, subject, name);
      if (!row) throw new Problem('NOT_FOUND', 'The account does not exist any more.');
      await this.audit.recordWithin(manager, call, { tenant, action: 'account.rename', outcome: 'success', subject });
      return row;
    });
  }

  private async replace(
    manager: EntityManager,
    tenant: string,
    id: string,
    to: { passwordHash: string; expired: boolean; mail: 'password-changed' | 'withdrawn' },
  ): Promise<UserRow | undefined> {
    const { passwordHash, expired, mail } = to;
    const row = await this.change.within(manager, tenant, id, undefined, { passwordHash, expired, verifies: false });
    if (row?.email) await this.outbox.add(manager, { kind: mail, tenant, owner: id, email: readEmail(row.email) });
    return row;
  }

  private async find(call: Call, userId: string): Promise<UserRow> {
    const { tenant } = currentCaller();
    const row = UUID.test(userId) && (await accountStore.find(this.dataSource, call, tenant, userId));
    if (!row) throw unknownUser();
    return row;
  }
}
