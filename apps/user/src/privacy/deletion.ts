import { Inject, Injectable } from '@nestjs/common';
import type { Call } from '@sluice/service';
import { transaction } from '@sluice/storage';
import { DataSource, type EntityManager } from 'typeorm';
import { userColumns, type UserRow } from '../accounts/account-store.js';
import { readEmail } from '../accounts/email.js';
import { AuditLog } from '../audit/audit-log.js';
import { linkStore } from '../links/link-store.js';
import { linkInvalid, readLinkToken } from '../links/link-token.js';
import { Outbox } from '../mail/outbox.js';
import { sessionStore } from '../sessions/session-store.js';
import { SETTINGS, type UserSettings } from '../settings.js';

/** Closes accounts, and opens them again until they are deleted. */
@Injectable()
export class Deletion {
  constructor(
    private readonly dataSource: DataSource,
    private readonly outbox: Outbox,
    private readonly audit: AuditLog,
    @Inject(SETTINGS) private readonly settings: UserSettings,
  ) {}

  /** Sets when the account is deleted, once; whoever tries again gets the same time. Its sessions are ended by the caller. */
  async mark(manager: EntityManager, tenant: string, userId: string): Promise<UserRow | undefined> {
    const [rows] = await manager.query<[UserRow[], number]>(
      `update users set delete_at = coalesce(delete_at, clock_timestamp() + $3 * interval '1 day')
       where tenant = $1 and id = $2 and not guest returning ${userColumns}`,
      [tenant, userId, this.settings.ACCOUNT_DELETION_DAYS],
    );
    const [row] = rows;
    if (row?.email)
      await this.outbox.add(manager, { kind: 'deletion', tenant, owner: userId, email: readEmail(row.email) });
    return row;
  }

  async unmark(manager: EntityManager, tenant: string, userId: string): Promise<UserRow | undefined> {
    // What has been due is about to be erased, or is being.
    const [rows] = await manager.query<[UserRow[], number]>(
      `update users set delete_at = null where tenant = $1 and id = $2 and email is not null
         and (delete_at is null or delete_at > clock_timestamp()) returning ${userColumns}`,
      [tenant, userId],
    );
    await linkStore.withdraw(manager, [userId], ['restore']);
    return rows[0];
  }

  /** For a user who has shown the password. */
  async closeOwn(call: Call, { id, tenant }: UserRow): Promise<Date> {
    const row = await transaction(this.dataSource, call, async (manager) => {
      await sessionStore.revokeAllWithin(manager, id, tenant, 'account-deleted');
      const marked = await this.mark(manager, tenant, id);
      if (!marked) throw new Error('the account is gone');
      await this.audit.recordWithin(manager, call, {
        tenant,
        action: 'account.delete',
        outcome: 'success',
        subject: id,
      });
      return marked;
    });
    this.outbox.wake();
    return row.delete_at!;
  }

  /** @throws Problem LINK_INVALID */
  async restore(call: Call, token: string): Promise<void> {
    const hash = readLinkToken(token);
    const link = await linkStore.find(this.dataSource, call, hash, ['restore']);
    if (!link) throw linkInvalid();
    await transaction(this.dataSource, call, async (manager) => {
      const [user] = await manager.query<{ tenant: string }[]>('select tenant from users where id = $1 for update', [
        link.owner,
      ]);
      const used = user && (await linkStore.use(manager, hash, ['restore']));
      if (!used || !(await this.unmark(manager, user.tenant, link.owner))) throw linkInvalid();
      const event = {
        tenant: user.tenant,
        action: 'account.restore',
        outcome: 'success',
        subject: link.owner,
      } as const;
      await this.audit.recordWithin(manager, call, event);
    });
  }
}
