import { randomUUID } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import type { userV1 } from '@sluice/contract';
import { Problem } from '@sluice/problem';
import { asProblem, type Call, type Caller } from '@sluice/service';
import { DataSource } from 'typeorm';
import { AuditLog } from '../audit/audit-log.js';
import { Registrations } from '../addresses/registrations.js';
import { Outbox } from '../mail/outbox.js';
import { UserMetrics } from '../metrics.js';
import { KnownTenants } from '../protection/known-tenants.js';
import { type AttemptKeys, Throttles } from '../protection/throttles.js';
import { SETTINGS, type UserSettings } from '../settings.js';
import { accountStore, type UserRow } from './account-store.js';
import { Admission } from './admission.js';
import { invalid, readPassword, readShownPassword, readText } from './credentials.js';
import { type Email, readEmail } from './email.js';
import { meantTenant } from './meant-tenant.js';
import { Nobody } from './nobody.js';
import { PasswordHasher } from './password-hasher.js';
import { PasswordStrength } from './password-strength.js';

export const DISPLAY_NAME_CHARACTERS_MAX = 200;

/** What a login shows. */
interface Credentials {
  readonly email: string;
  readonly password: string;
  /** Empty: the default tenant. */
  readonly tenant: string;
}

/** Accounts with a password. */
@Injectable()
export class Accounts {
  constructor(
    private readonly dataSource: DataSource,
    private readonly hasher: PasswordHasher,
    private readonly nobody: Nobody,
    private readonly strength: PasswordStrength,
    private readonly throttles: Throttles,
    private readonly registrations: Registrations,
    private readonly admission: Admission,
    private readonly outbox: Outbox,
    private readonly tenants: KnownTenants,
    private readonly audit: AuditLog,
    private readonly metrics: UserMetrics,
    @Inject(SETTINGS) private readonly settings: UserSettings,
  ) {}

  /**
   * @returns undefined where addresses are verified: what became of it is told by mail alone
   * @throws Problem INVALID_ARGUMENT, ALREADY_EXISTS, OVERLOADED; RATE_LIMIT_EXCEEDED for too many mails
   */
  async register(call: Call, request: userV1.RegisterRequest): Promise<UserRow | undefined> {
    const email = readEmail(request.email);
    const password = readPassword(request.password);
    const displayName = readText(request.display_name, 'display_name', DISPLAY_NAME_CHARACTERS_MAX);
    await this.strength.check(password, [email.text, displayName]);
    const tenant = await this.openTenant(call, request.tenant);
    const verifies = this.settings.EMAIL_VERIFICATION !== 'none';
    if (verifies) await this.outbox.takePace(call, tenant, email);
    const passwordHash = await this.hasher.inTurn(call, tenant, () => this.hasher.hash(password));
    if (verifies) {
      await this.registrations.begin(call, { tenant, email, passwordHash, displayName });
      return undefined;
    }
    const user = { id: randomUUID(), tenant, email, passwordHash, displayName };
    const row = await accountStore.insert(this.dataSource, call, user);
    await this.audit.record(call, {
      tenant,
      action: 'account.register',
      outcome: row ? 'success' : 'exists',
      subject: row?.id ?? '',
    });
    if (!row) throw new Problem('ALREADY_EXISTS', 'There is an account with this e-mail address.');
    return row;
  }

  /**
   * Checks a password. An unknown address costs the same work and gets the same answer as a wrong password.
   *
   * @throws Problem INVALID_CREDENTIALS, OVERLOADED; RATE_LIMIT_EXCEEDED after too many wrong passwords; when the password is right,
   *   PERMISSION_DENIED for a locked account, and what {@link Admission} refuses
   */
  async authenticate(call: Call, credentials: Credentials): Promise<UserRow> {
    const email = readEmail(credentials.email);
    const password = readShownPassword(credentials.password);
    const tenant = this.tenantOf(call, credentials.tenant);
    const keys = this.throttles.keysOf(tenant, email.key, call.clientAddress);
    try {
      const user = await this.attempt(call, tenant, email, password, keys);
      await this.admission.admit(call, user);
      return user;
    } catch (error) {
      this.recordFailure(call, tenant, asProblem(error));
      throw error;
    }
  }

  private async attempt(
    call: Call,
    tenant: string,
    email: Email,
    password: string,
    keys: AttemptKeys,
  ): Promise<UserRow> {
    await this.checkThrottle(call, tenant, keys);
    const user = await accountStore.findByEmail(this.dataSource, call, tenant, email);
    const share = await this.tenants.shareOf(call, tenant);
    return this.hasher.inTurn(call, share, async () => {
      // Others may have failed while this attempt waited: guesses sent all at once get no more tries than guesses one by one.
      await this.checkThrottle(call, tenant, keys);
      const passwordHash = user?.password_hash ?? (await this.nobody.hashFor(email.key));
      const right = await this.hasher.verify(passwordHash, password);
      if (!right || !user) {
        await this.throttles.failed(call, keys);
        await this.recordLogin(call, tenant, 'wrong', user?.id);
        throw this.admission.wrong();
      }
      await this.throttles.succeeded(call, keys);
      await this.recordLogin(call, tenant, this.admission.outcomeOf(user), user.id);
      if (user.locked_at) throw new Problem('PERMISSION_DENIED', 'The account is locked.');
      if (this.hasher.isOutdated(passwordHash)) {
        const renewed = await this.hasher.hash(password);
        await accountStore.replaceHash(this.dataSource, call, user.id, passwordHash, renewed);
      }
      return user;
    });
  }

  /** @throws Problem NOT_FOUND */
  async get(call: Call, caller: Caller): Promise<UserRow> {
    const user = await accountStore.find(this.dataSource, call, caller.tenant, caller.subject);
    if (!user) throw new Problem('NOT_FOUND', 'The account does not exist any more.');
    return user;
  }

  /** @throws Problem INVALID_ARGUMENT when nobody may become a member of the tenant by himself */
  async openTenant(call: Call, name: string): Promise<string> {
    const tenant = this.tenantOf(call, name);
    if (await accountStore.takesRegistrations(this.dataSource, call, tenant)) return tenant;
    throw invalid('tenant', 'must be a tenant that takes registrations');
  }

  wrongCredentials(): Problem {
    return this.admission.wrong();
  }

  /** The tenant that a request means. @throws Problem TENANT_MISMATCH */
  tenantOf(call: Call, inMessage: string): string {
    return meantTenant(call, inMessage) || this.settings.DEFAULT_TENANT;
  }

  private async checkThrottle(call: Call, tenant: string, keys: AttemptKeys): Promise<void> {
    try {
      await this.throttles.check(call, keys);
    } catch (error) {
      if (error instanceof Problem) await this.recordLogin(call, tenant, 'blocked', undefined);
      throw error;
    }
  }

  /** An attempt that came to no decision. What was refused is recorded where it was; of an overload there is a count alone. */
  private recordFailure(call: Call, tenant: string, { code, status }: Problem): void {
    if (status < 499) return;
    const outcome = `failed:${code.toLowerCase()}`;
    this.metrics.logins.inc({ outcome });
    if (code !== 'OVERLOADED') this.audit.recordLater(call, { tenant, action: 'login', outcome });
  }

  private async recordLogin(call: Call, tenant: string, outcome: string, subject = ''): Promise<void> {
    this.metrics.logins.inc({ outcome });
    await this.audit.record(call, { tenant, action: 'login', outcome, subject });
  }
}
