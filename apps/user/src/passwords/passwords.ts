import { Injectable } from '@nestjs/common';
import type { accountV1 } from '@sluice/contract';
import { Problem } from '@sluice/problem';
import type { Call, Caller } from '@sluice/service';
import { transaction } from '@sluice/storage';
import { DataSource } from 'typeorm';
import type { UserRow } from '../accounts/account-store.js';
import { Accounts } from '../accounts/accounts.js';
import { readPassword } from '../accounts/credentials.js';
import { readEmail } from '../accounts/email.js';
import { PasswordStrength } from '../accounts/password-strength.js';
import { AuditLog } from '../audit/audit-log.js';
import { linkStore } from '../links/link-store.js';
import { linkInvalid, readLinkToken } from '../links/link-token.js';
import { Outbox } from '../mail/outbox.js';
import { sessionStore } from '../sessions/session-store.js';
import { UUID } from '../sessions/sessions.js';
import { PasswordChange } from './password-change.js';

/** What users do with their passwords. */
@Injectable()
export class Passwords {
  constructor(
    private readonly dataSource: DataSource,
    private readonly accounts: Accounts,
    private readonly change: PasswordChange,
    private readonly strength: PasswordStrength,
    private readonly outbox: Outbox,
    private readonly audit: AuditLog,
  ) {}

  /**
   * @returns how many other sessions have ended
   * @throws Problem INVALID_ARGUMENT, INVALID_CREDENTIALS, SESSION_REVOKED; ABORTED when another change was first
   */
  async changeOwn(call: Call, caller: Caller, request: accountV1.ChangePasswordRequest): Promise<number> {
    const { tenant, subject, session } = caller;
    const password = readPassword(request.new_password, 'new_password');
    const user = await this.change.requirePassword(call, tenant, subject, request.current_password, 'current_password');
    if (readPassword(request.new_password) === request.current_password.normalize('NFC')) {
      throw new Problem('INVALID_ARGUMENT', 'new_password must be another one than current_password.', {
        details: { field: 'new_password' },
      });
    }
    await this.strength.check(password, [user.email ?? '', user.display_name], 'new_password');
    const passwordHash = await this.change.hash(call, user.tenant, password);
    const ended = await transaction(this.dataSource, call, async (manager) => {
      const others =
        UUID.test(session) &&
        (await sessionStore.revokeOthersWithin(manager, subject, tenant, session, 'password-changed'));
      if (others === false || others === undefined) throw new Problem('SESSION_REVOKED', 'Your session has ended.');
      const changed = await this.change.within(manager, tenant, subject, user.password_version, {
        passwordHash,
        expired: false,
        verifies: false,
      });
      if (!changed) throw new Problem('ABORTED', 'The password was changed a moment ago by somebody else.');
      await this.audit.recordWithin(manager, call, { tenant, action: 'password.change', outcome: 'success', subject });
      await this.tell(manager, changed);
      return others;
    });
    this.outbox.wake();
    return ended;
  }

  /** Alike, in what it answers and does, for addresses with an account and without: who has it is looked up when the mail is sent. */
  async requestReset(call: Call, request: accountV1.RequestPasswordResetRequest): Promise<void> {
    this.outbox.require();
    const email = readEmail(request.email);
    const tenant = this.accounts.tenantOf(call, request.tenant);
    await this.outbox.takePace(call, tenant, email);
    await this.outbox.send({ kind: 'reset', tenant, email });
    await this.audit.record(call, { tenant, action: 'password.reset-request', outcome: 'success' });
  }

  /** @throws Problem LINK_INVALID, INVALID_ARGUMENT, OVERLOADED */
  async reset(call: Call, request: accountV1.ResetPasswordRequest): Promise<void> {
    const hash = readLinkToken(request.token);
    const password = readPassword(request.password);
    const link = await linkStore.find(this.dataSource, call, hash, ['reset', 'replace']);
    const [user] = link
      ? await this.dataSource.query<UserRow[]>('select id, tenant, email, display_name from users where id = $1', [
          link.owner,
        ])
      : [];
    if (!link || !user) throw linkInvalid();
    await this.strength.check(password, [user.email ?? '', user.display_name]);
    const passwordHash = await this.change.hash(call, user.tenant, password);
    const { tenant, id: subject } = user;
    const changed = await transaction(this.dataSource, call, async (manager) => {
      await sessionStore.revokeAllWithin(manager, subject, tenant, 'password-changed');
      const used = await linkStore.use(manager, hash, ['reset', 'replace']);
      if (!used) throw linkInvalid();
      const row = await this.change.within(manager, tenant, subject, undefined, {
        passwordHash,
        expired: false,
        verifies: used.purpose === 'reset',
      });
      if (!row) throw linkInvalid();
      await this.audit.recordWithin(manager, call, { tenant, action: 'password.reset', outcome: 'success', subject });
      await this.tell(manager, row);
      return row;
    });
    this.outbox.wake();
    await this.change.forgetFailures(call, changed);
  }

  private async tell(manager: Parameters<Outbox['add']>[0], user: UserRow): Promise<void> {
    if (user.email === null) return;
    const { tenant, id: owner } = user;
    await this.outbox.add(manager, { kind: 'password-changed', tenant, owner, email: readEmail(user.email) });
  }
}
