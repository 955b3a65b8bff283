import { Inject, Injectable } from '@nestjs/common';
import type { userV1 } from '@sluice/contract';
import { Problem } from '@sluice/problem';
import type { Call, Caller } from '@sluice/service';
import { transaction } from '@sluice/storage';
import { DataSource } from 'typeorm';
import { accountStore } from '../accounts/account-store.js';
import { Accounts, DISPLAY_NAME_CHARACTERS_MAX } from '../accounts/accounts.js';
import { readPassword, readText } from '../accounts/credentials.js';
import { type Email, readEmail } from '../accounts/email.js';
import { PasswordHasher } from '../accounts/password-hasher.js';
import { PasswordStrength } from '../accounts/password-strength.js';
import { AuditLog } from '../audit/audit-log.js';
import { Outbox } from '../mail/outbox.js';
import { sessionStore } from '../sessions/session-store.js';
import { Sessions, UUID } from '../sessions/sessions.js';
import { SETTINGS, type UserSettings } from '../settings.js';

const UNIQUE_VIOLATION = '23505';

/** Turns guests into users with a password, under the same id. */
@Injectable()
export class Upgrades {
  constructor(
    private readonly dataSource: DataSource,
    private readonly accounts: Accounts,
    private readonly sessions: Sessions,
    private readonly hasher: PasswordHasher,
    private readonly strength: PasswordStrength,
    private readonly audit: AuditLog,
    private readonly outbox: Outbox,
    @Inject(SETTINGS) private readonly settings: UserSettings,
  ) {}

  /**
   * Of many upgrades at once one changes the account; the others, and whoever asks again because the answer was lost, are logged in
   * when they show the same password.
   *
   * @throws Problem FAILED_PRECONDITION for a caller who is no guest, ALREADY_EXISTS for a taken address, SESSION_REVOKED when the
   *   guest has signed out
   */
  async upgrade(call: Call, caller: Caller, request: userV1.UpgradeGuestRequest): Promise<userV1.TokenResponse> {
    if (!caller.guest) throw new Problem('FAILED_PRECONDITION', 'Only a guest can be upgraded.');
    const email = readEmail(request.email);
    const password = readPassword(request.password);
    const displayName = readText(request.display_name, 'display_name', DISPLAY_NAME_CHARACTERS_MAX);
    const device = readText(request.device, 'device', 200);
    const user = await accountStore.find(this.dataSource, call, caller.tenant, caller.subject);
    if (user?.guest) {
      await this.strength.check(password, [email.text, displayName]);
      const passwordHash = await this.hasher.inTurn(call, caller.tenant, () => this.hasher.hash(password));
      const tokens = await this.change(call, caller, { email, passwordHash, displayName, device });
      if (tokens) return tokens;
    }
    return this.repeat(call, caller, { email, password, device });
  }

  /** @returns undefined when another upgrade was first, or the guest's session has ended */
  private async change(
    call: Call,
    caller: Caller,
    change: { email: Email; passwordHash: string; displayName: string; device: string },
  ): Promise<userV1.TokenResponse | undefined> {
    const { subject, tenant, session } = caller;
    if (!UUID.test(session)) return undefined;
    try {
      const tokens = await transaction(this.dataSource, call, async (manager) => {
        const [changed] = await manager.query<[unknown[], number]>(
          `update users u set guest = false, email = $4, email_key = $5, password_hash = $6, display_name = $7
           where id = $1 and tenant = $2 and guest and locked_at is null and exists (
             select from sessions s where s.id = $3 and s.user_id = u.id and s.revoked_at is null
               and s.idle_until > clock_timestamp())
           returning id`,
          [subject, tenant, session, change.email.text, change.email.key, change.passwordHash, change.displayName],
        );
        if (changed.length === 0) return undefined;
        // Whoever had the guest's tokens before must not hold the user's account now.
        await sessionStore.revokeAllWithin(manager, subject, tenant, 'guest-upgrade');
        await this.audit.recordWithin(manager, call, { tenant, action: 'guest.upgrade', outcome: 'success', subject });
        if (this.settings.EMAIL_VERIFICATION !== 'none') {
          await this.outbox.add(manager, { kind: 'verify', tenant, owner: subject, email: change.email });
        }
        return this.sessions.openWithin(manager, call, subject, change.device);
      });
      this.outbox.wake();
      return tokens;
    } catch (error) {
      if ((error as { code?: unknown }).code !== UNIQUE_VIOLATION) throw error;
      throw new Problem('ALREADY_EXISTS', 'There is an account with this e-mail address.');
    }
  }

  private async repeat(
    call: Call,
    { tenant, subject }: Caller,
    { email, password, device }: { email: Email; password: string; device: string },
  ): Promise<userV1.TokenResponse> {
    const user = await accountStore.find(this.dataSource, call, tenant, subject);
    if (!user || user.guest) throw new Problem('SESSION_REVOKED', 'The session of this guest has ended.');
    if (user.email === null || readEmail(user.email).key !== email.key) {
      throw new Problem('ALREADY_EXISTS', 'This guest was upgraded with another e-mail address.');
    }
    const checked = await this.accounts.authenticate(call, { email: email.text, password, tenant });
    return this.sessions.open(call, checked, device);
  }
}
