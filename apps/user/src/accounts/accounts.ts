import { randomBytes, randomUUID } from 'node:crypto';
import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import type { userV1 } from '@sluice/contract';
import { Problem } from '@sluice/problem';
import type { Call, Caller } from '@sluice/service';
import { DataSource } from 'typeorm';
import { SETTINGS, type UserSettings } from '../settings.js';
import { accountStore, type UserRow } from './account-store.js';
import { invalid, readEmail, readPassword, readText } from './credentials.js';
import { PasswordHasher } from './password-hasher.js';

const DISPLAY_NAME_CHARACTERS_MAX = 200;

/** Accounts with a password. */
@Injectable()
export class Accounts implements OnModuleInit {
  /** Verified against when there is no such user, so that the answer takes as long as for a wrong password. */
  private hashOfNobody = '';

  constructor(
    private readonly dataSource: DataSource,
    private readonly hasher: PasswordHasher,
    @Inject(SETTINGS) private readonly settings: UserSettings,
  ) {}

  async onModuleInit(): Promise<void> {
    this.hashOfNobody = await this.hasher.hash(randomBytes(16).toString('hex'));
    await this.dataSource.query('insert into tenants (id, name) values ($1, $1) on conflict do nothing', [
      this.settings.DEFAULT_TENANT,
    ]);
  }

  /** @throws Problem INVALID_ARGUMENT, ALREADY_EXISTS, OVERLOADED */
  async register(call: Call, request: userV1.RegisterRequest): Promise<UserRow> {
    const email = readEmail(request.email);
    const password = readPassword(request.password);
    const displayName = readText(request.display_name, 'display_name', DISPLAY_NAME_CHARACTERS_MAX);
    const tenant = this.tenantOf(request.tenant);
    if (!(await accountStore.takesRegistrations(this.dataSource, call, tenant))) {
      throw invalid('tenant', 'must be a tenant that takes registrations');
    }
    const passwordHash = await this.hasher.inTurn(call.signal, () => this.hasher.hash(password));
    const user = { id: randomUUID(), tenant, email, passwordHash, displayName };
    const row = await accountStore.insert(this.dataSource, call, user);
    if (!row) throw new Problem('ALREADY_EXISTS', 'There is an account with this e-mail address.');
    return row;
  }

  /**
   * Checks a password. An unknown address costs the same work and gets the same answer as a wrong password.
   *
   * @throws Problem INVALID_CREDENTIALS, OVERLOADED; PERMISSION_DENIED for a locked account, when the password is right
   */
  async authenticate(call: Call, request: { email: string; password: string; tenant: string }): Promise<UserRow> {
    const email = readEmail(request.email);
    const password = readPassword(request.password);
    const user = await accountStore.findByEmail(this.dataSource, call, this.tenantOf(request.tenant), email);
    return this.hasher.inTurn(call.signal, async () => {
      const passwordHash = user?.password_hash ?? this.hashOfNobody;
      const right = await this.hasher.verify(passwordHash, password);
      if (!right || !user) throw new Problem('INVALID_CREDENTIALS', 'The e-mail address or the password is wrong.');
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

  private tenantOf(tenant: string): string {
    return tenant === '' ? this.settings.DEFAULT_TENANT : tenant;
  }
}
