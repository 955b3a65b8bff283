import { randomUUID } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import { Problem } from '@sluice/problem';
import type { Call, Caller } from '@sluice/service';
import { transaction } from '@sluice/storage';
import { DataSource } from 'typeorm';
import { invalid } from '../accounts/credentials.js';
import { readEmail } from '../accounts/email.js';
import { AuditLog } from '../audit/audit-log.js';
import { linkStore } from '../links/link-store.js';
import { linkInvalid, readLinkToken } from '../links/link-token.js';
import { Outbox } from '../mail/outbox.js';
import { PasswordChange } from '../passwords/password-change.js';
import { SETTINGS, type UserSettings } from '../settings.js';

const PURPOSES = ['email-old', 'email-new'] as const;
const UNIQUE_VIOLATION = '23505';

interface PendingChange {
  readonly user_id: string;
  readonly email: string;
  readonly email_key: string;
  readonly old_confirmed: boolean;
  readonly new_confirmed: boolean;
}

/** Gives an account another address, when the mailbox of the present one and that of the new one have both agreed. */
@Injectable()
export class EmailChange {
  constructor(
    private readonly dataSource: DataSource,
    private readonly change: PasswordChange,
    private readonly outbox: Outbox,
    private readonly audit: AuditLog,
    @Inject(SETTINGS) private readonly settings: UserSettings,
  ) {}

  /** The same answer for an address that has an account: its owner is told by mail. @throws Problem INVALID_CREDENTIALS, RATE_LIMIT_EXCEEDED */
  async request(call: Call, { tenant, subject }: Caller, text: string, password: string): Promise<void> {
    this.outbox.require();
    const email = readEmail(text);
    const user = await this.change.requirePassword(call, tenant, subject, password, 'password');
    const former = readEmail(user.email ?? '');
    if (former.key === email.key) throw invalid('email', 'must be another address than the present one');
    await this.outbox.takePace(call, tenant, email);
    const id = randomUUID();
    await transaction(this.dataSource, call, async (manager) => {
      await manager.query(
        `insert into email_changes (user_id, id, email, email_key, expires_at)
         values ($1, $2, $3, $4, clock_timestamp() + $5 * interval '1 hour')
         on conflict (user_id) do update set id = excluded.id, email = excluded.email, email_key = excluded.email_key,
           old_confirmed = false, new_confirmed = false, expires_at = excluded.expires_at`,
        [subject, id, email.text, email.key, this.settings.VERIFY_LINK_HOURS],
      );
      const taken = await manager.query<unknown[]>('select from users where tenant = $1 and email_key = $2', [
        tenant,
        email.key,
      ]);
      await this.outbox.add(manager, { kind: 'email-old', tenant, owner: id, email: former });
      await this.outbox.add(manager, { kind: taken.length > 0 ? 'registered' : 'email-new', tenant, owner: id, email });
      const action = 'email.change-request';
      await this.audit.recordWithin(manager, call, { tenant, action, outcome: 'success', subject });
    });
    this.outbox.wake();
  }

  /** @returns whether the address has changed. @throws Problem LINK_INVALID, ALREADY_EXISTS */
  async confirm(call: Call, token: string): Promise<boolean> {
    const hash = readLinkToken(token);
    const link = await linkStore.find(this.dataSource, call, hash, PURPOSES);
    if (!link) throw linkInvalid();
    try {
      const done = await transaction(this.dataSource, call, async (manager) => {
        const [user] = await manager.query<{ id: string; tenant: string; email: string; email_key: string }[]>(
          `select u.id, u.tenant, u.email, u.email_key from users u join email_changes c on c.user_id = u.id
           where c.id = $1 and u.locked_at is null and u.delete_at is null for no key update of u`,
          [link.owner],
        );
        const used = user && (await linkStore.use(manager, hash, PURPOSES));
        if (!used) throw linkInvalid();
        const side = used.purpose === 'email-old' ? 'old_confirmed' : 'new_confirmed';
        const [[change]] = await manager.query<[PendingChange[], number]>(
          `update email_changes set ${side} = true where id = $1 and expires_at > clock_timestamp()
           returning user_id, email, email_key, old_confirmed, new_confirmed`,
          [used.owner],
        );
        if (!change) throw linkInvalid();
        if (!change.old_confirmed || !change.new_confirmed) return false;
        await manager.query(
          'update users set email = $2, email_key = $3, email_verified_at = clock_timestamp() where id = $1',
          [user.id, change.email, change.email_key],
        );
        await manager.query('delete from email_changes where user_id = $1', [user.id]);
        // Links that were sent to the former address.
        await linkStore.withdraw(manager, [user.id], ['reset', 'verify']);
        const { tenant, id: subject } = user;
        await this.audit.recordWithin(manager, call, { tenant, action: 'email.change', outcome: 'success', subject });
        const former = { text: user.email, key: user.email_key };
        await this.outbox.add(manager, { kind: 'email-changed', tenant, owner: subject, email: former });
        return true;
      });
      if (done) this.outbox.wake();
      return done;
    } catch (error) {
      if ((error as { code?: unknown }).code !== UNIQUE_VIOLATION) throw error;
      throw new Problem('ALREADY_EXISTS', 'The new address has got an account meanwhile.');
    }
  }
}
