import { Injectable } from '@nestjs/common';
import { Problem } from '@sluice/problem';
import type { Call, Caller } from '@sluice/service';
import { transaction } from '@sluice/storage';
import { DataSource } from 'typeorm';
import { accountStore } from '../accounts/account-store.js';
import { readShownPassword } from '../accounts/credentials.js';
import { readEmail } from '../accounts/email.js';
import { PasswordHasher } from '../accounts/password-hasher.js';
import { AuditLog } from '../audit/audit-log.js';
import { linkStore, type LinkRow } from '../links/link-store.js';
import { linkInvalid, readLinkToken } from '../links/link-token.js';
import { Outbox } from '../mail/outbox.js';
import { Throttles } from '../protection/throttles.js';
import { insertProven } from './displacement.js';

interface Unverified {
  readonly id: string;
  readonly tenant: string;
  readonly email: string;
  readonly email_key: string;
  readonly password_hash: string;
  readonly display_name: string;
}

const columns = 'id, tenant, email, email_key, password_hash, display_name';
const PURPOSES = ['verify', 'claim'] as const;

/**
 * Verifies addresses. The link shows that somebody reads the mailbox, the password that it is who registered: with the link alone, a
 * stranger's registration would be confirmed by the owner of the mailbox, and the stranger would know the password of his account.
 */
@Injectable()
export class Verification {
  constructor(
    private readonly dataSource: DataSource,
    private readonly hasher: PasswordHasher,
    private readonly throttles: Throttles,
    private readonly outbox: Outbox,
    private readonly audit: AuditLog,
  ) {}

  /** Mails the link again; nothing for an address that is verified. @throws Problem RATE_LIMIT_EXCEEDED, FAILED_PRECONDITION */
  async request(call: Call, { tenant, subject }: Caller): Promise<void> {
    this.outbox.require();
    const user = await accountStore.find(this.dataSource, call, tenant, subject);
    if (!user || user.email === null) throw new Problem('NOT_FOUND', 'The account has no address.');
    if (user.email_verified) return;
    const email = readEmail(user.email);
    await this.outbox.takePace(call, tenant, email);
    await this.outbox.send({ kind: 'verify', tenant, owner: user.id, email });
  }

  /** @throws Problem LINK_INVALID, INVALID_CREDENTIALS, RATE_LIMIT_EXCEEDED, ALREADY_EXISTS */
  async verify(call: Call, token: string, password: string): Promise<void> {
    const hash = readLinkToken(token);
    const link = await linkStore.find(this.dataSource, call, hash, PURPOSES);
    const registered = link && (await this.find(link));
    if (!registered) throw linkInvalid();
    await this.requirePassword(call, registered, password);
    const { tenant } = registered;
    await transaction(this.dataSource, call, async (manager) => {
      if (link.purpose === 'verify') {
        const [, count] = await manager.query<[unknown[], number]>(
          `update users set email_verified_at = coalesce(email_verified_at, clock_timestamp())
           where id = $1 and email_key = $2 and password_hash = $3`,
          [registered.id, registered.email_key, registered.password_hash],
        );
        if (count === 0 || !(await linkStore.use(manager, hash, PURPOSES))) throw linkInvalid();
      } else {
        const { id, email, email_key: key, password_hash: passwordHash, display_name: displayName } = registered;
        const owner = { id, tenant, email: { text: email, key }, passwordHash, displayName, roles: [] };
        const made = await insertProven(manager, owner);
        if (!(await linkStore.use(manager, hash, PURPOSES))) throw linkInvalid();
        if (!made) throw new Problem('ALREADY_EXISTS', 'The address was verified for another account meanwhile.');
        if (made.displaced !== undefined) {
          const subject = made.displaced;
          await this.audit.recordWithin(manager, call, {
            tenant,
            action: 'account.displace',
            outcome: 'success',
            subject,
          });
        }
      }
      const values = [tenant, registered.email_key];
      await manager.query('delete from registrations where tenant = $1 and email_key = $2', values);
      const subject = registered.id;
      await this.audit.recordWithin(manager, call, { tenant, action: 'account.verify', outcome: 'success', subject });
    });
  }

  private async find({ owner, purpose }: LinkRow): Promise<Unverified | undefined> {
    const [row] = await this.dataSource.query<Unverified[]>(
      purpose === 'verify'
        ? `select ${columns} from users where id = $1 and not guest and delete_at is null`
        : `select ${columns} from registrations where id = $1 and expires_at > clock_timestamp()`,
      [owner],
    );
    return row;
  }

  private async requirePassword(call: Call, registered: Unverified, password: string): Promise<void> {
    const keys = this.throttles.keysOf(registered.tenant, registered.email_key, call.clientAddress);
    await this.throttles.check(call, keys);
    const right = await this.hasher.inTurn(call, registered.tenant, () =>
      this.hasher.verify(registered.password_hash, readShownPassword(password)),
    );
    if (right) return;
    await this.throttles.failed(call, keys);
    throw new Problem('INVALID_CREDENTIALS', 'This is not the password of the registration that the link is for.', {
      details: { field: 'password' },
    });
  }
}
