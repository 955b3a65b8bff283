import { Injectable } from '@nestjs/common';
import { Problem } from '@sluice/problem';
import { asProblem, type Call } from '@sluice/service';
import { DataSource, type EntityManager } from 'typeorm';
import { accountStore, userColumns, type UserRow } from '../accounts/account-store.js';
import { readShownPassword } from '../accounts/credentials.js';
import { readEmail } from '../accounts/email.js';
import { PasswordHasher } from '../accounts/password-hasher.js';
import { linkStore } from '../links/link-store.js';
import { Throttles } from '../protection/throttles.js';

/** What a new password is, besides its hash. */
export interface NewPassword {
  readonly passwordHash: string;
  /** The next login must choose another one. */
  readonly expired: boolean;
  /** Whoever sets it has shown that the account's address is his own. */
  readonly verifies: boolean;
}

/** What every change of a password has in common. */
@Injectable()
export class PasswordChange {
  constructor(
    private readonly dataSource: DataSource,
    private readonly hasher: PasswordHasher,
    private readonly throttles: Throttles,
  ) {}

  /**
   * Checks the password of somebody who is signed in. Wrong ones count like those of a login: whoever has stolen a token guesses no faster.
   *
   * @throws Problem NOT_FOUND, INVALID_CREDENTIALS, RATE_LIMIT_EXCEEDED, OVERLOADED
   */
  async requirePassword(call: Call, tenant: string, userId: string, shown: string, field: string): Promise<UserRow> {
    const user = await accountStore.find(this.dataSource, call, tenant, userId);
    if (!user || user.password_hash === null || user.email === null) {
      throw new Problem('NOT_FOUND', 'There is no such account with a password.');
    }
    const hash = user.password_hash;
    const keys = this.throttles.keysOf(tenant, readEmail(user.email).key, call.clientAddress);
    await this.throttles.check(call, keys);
    const right = await this.hasher.inTurn(call, tenant, async () => {
      await this.throttles.check(call, keys);
      return this.hasher.verify(hash, readShownPassword(shown));
    });
    if (right) return user;
    await this.throttles.failed(call, keys);
    throw new Problem('INVALID_CREDENTIALS', `${field} is not the password of the account.`, { details: { field } });
  }

  /** @param tenant whose share of the queue it takes */
  hash(call: Call, tenant: string, password: string): Promise<string> {
    return this.hasher.inTurn(call, tenant, () => this.hasher.hash(password));
  }

  /**
   * Sets the password unless it was changed since it was read; links to set one work no more.
   *
   * @param version `password_version` as it was read; undefined: whatever it is
   * @returns undefined when another change was first
   */
  async within(
    manager: EntityManager,
    tenant: string,
    userId: string,
    version: number | undefined,
    { passwordHash, expired, verifies }: NewPassword,
  ): Promise<UserRow | undefined> {
    const [rows] = await manager.query<[UserRow[], number]>(
      `update users set password_hash = $4, password_version = password_version + 1, password_expired = $5,
         email_verified_at = case when $6 then coalesce(email_verified_at, clock_timestamp()) else email_verified_at end
       where tenant = $1 and id = $2 and not guest and password_version = coalesce($3, password_version)
       returning ${userColumns}`,
      [tenant, userId, version ?? null, passwordHash, expired, verifies],
    );
    if (rows[0]) {
      await linkStore.withdraw(manager, [userId], ['reset', 'replace']);
      // What whoever knew the former password has begun.
      await manager.query('delete from email_changes where user_id = $1', [userId]);
    }
    return rows[0];
  }

  /** Others' guesses count no more against an account whose owner has just shown himself. */
  async forgetFailures(call: Call, user: UserRow): Promise<void> {
    if (user.email === null) return;
    try {
      await this.throttles.succeeded(
        call,
        this.throttles.keysOf(user.tenant, readEmail(user.email).key, call.clientAddress),
      );
    } catch (error) {
      // The password is set; what was counted ends by itself.
      if (asProblem(error).status < 500) throw error;
    }
  }
}
