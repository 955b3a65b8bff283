import { randomUUID } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import type { Call } from '@sluice/service';
import { transaction } from '@sluice/storage';
import { DataSource } from 'typeorm';
import type { Email } from '../accounts/email.js';
import { AuditLog } from '../audit/audit-log.js';
import { Outbox } from '../mail/outbox.js';
import { SETTINGS, type UserSettings } from '../settings.js';
import { CAN_BE_DISPLACED } from './displacement.js';

interface Registration {
  readonly tenant: string;
  readonly email: Email;
  readonly passwordHash: string;
  readonly displayName: string;
}

/** Registrations where addresses are verified: they answer alike for addresses that have an account, and what it is the mail tells. */
@Injectable()
export class Registrations {
  constructor(
    private readonly dataSource: DataSource,
    private readonly outbox: Outbox,
    private readonly audit: AuditLog,
    @Inject(SETTINGS) private readonly settings: UserSettings,
  ) {}

  /**
   * An address without an account gets one, unverified. One whose account is not verified gets a registration beside it, with a link of its
   * own: whoever opens his link, and knows the password that he chose, has the address. The statements are the same in each case.
   */
  async begin(call: Call, { tenant, email, passwordHash, displayName }: Registration): Promise<void> {
    const owner = randomUUID();
    await transaction(this.dataSource, call, async (manager) => {
      const values = [owner, tenant, email.text, email.key, passwordHash, displayName];
      const made = await manager.query<unknown[]>(
        `insert into users (id, tenant, email, email_key, password_hash, display_name)
         select $1, t.id, $3, $4, $5, $6 from tenants t where t.id = $2 and t.open_registration
         on conflict (tenant, email_key) do nothing returning id`,
        values,
      );
      const beside = await manager.query<unknown[]>(
        `insert into registrations (id, tenant, email, email_key, password_hash, display_name, expires_at)
         select $1, $2, $3, $4, $5, $6, clock_timestamp() + $7 * interval '1 hour' from users
         where tenant = $2 and email_key = $4 and id <> $1 and ${CAN_BE_DISPLACED} returning id`,
        [...values, this.settings.VERIFY_LINK_HOURS],
      );
      const kind = made.length > 0 ? 'verify' : beside.length > 0 ? 'claim' : 'registered';
      await this.outbox.add(manager, { kind, tenant, owner, email });
      const outcome = kind === 'registered' ? 'exists' : kind === 'claim' ? 'claim' : 'success';
      const subject = kind === 'verify' ? owner : '';
      await this.audit.recordWithin(manager, call, { tenant, action: 'account.register', outcome, subject });
    });
    this.outbox.wake();
  }
}
