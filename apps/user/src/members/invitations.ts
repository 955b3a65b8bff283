import { randomUUID } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import type { accountV1 } from '@sluice/contract';
import { Problem } from '@sluice/problem';
import { type Call, currentCaller } from '@sluice/service';
import { transaction } from '@sluice/storage';
import { DataSource } from 'typeorm';
import type { UserRow } from '../accounts/account-store.js';
import { DISPLAY_NAME_CHARACTERS_MAX } from '../accounts/accounts.js';
import { readPassword, readText } from '../accounts/credentials.js';
import { readEmail } from '../accounts/email.js';
import { PasswordStrength } from '../accounts/password-strength.js';
import { CAN_BE_DISPLACED, insertProven } from '../addresses/displacement.js';
import { readRoles, tenantMeant } from '../admin/user-changes.js';
import { AuditLog } from '../audit/audit-log.js';
import { linkStore } from '../links/link-store.js';
import { linkInvalid, readLinkToken } from '../links/link-token.js';
import { Outbox } from '../mail/outbox.js';
import { PasswordChange } from '../passwords/password-change.js';
import { UUID } from '../sessions/sessions.js';
import { SETTINGS, type UserSettings } from '../settings.js';

/** A row of `invitations`. */
export interface InvitationRow {
  readonly id: string;
  readonly tenant: string;
  readonly email: string;
  readonly email_key: string;
  readonly roles: string[];
  readonly created_at: Date;
  readonly expires_at: Date;
}

const columns = 'id, tenant, email, email_key, roles, created_at, expires_at';
const WAITING_MAX = 1000;
const SHOWN_MAX = 200;

/** Administrators invite by mail; who reads the mail makes the account. */
@Injectable()
export class Invitations {
  constructor(
    private readonly dataSource: DataSource,
    private readonly change: PasswordChange,
    private readonly strength: PasswordStrength,
    private readonly outbox: Outbox,
    private readonly audit: AuditLog,
    @Inject(SETTINGS) private readonly settings: UserSettings,
  ) {}

  /** @throws Problem ALREADY_EXISTS for an address that has an account, NOT_FOUND, RESOURCE_EXHAUSTED */
  async create(call: Call, request: accountV1.CreateInvitationRequest): Promise<InvitationRow> {
    this.outbox.require();
    const email = readEmail(request.email);
    const tenant = tenantMeant(request.tenant, 'invites');
    const roles = readRoles(request.roles);
    const row = await transaction(this.dataSource, call, async (manager) => {
      // Held, so that no more are made at once than there may be.
      const held = await manager.query<unknown[]>(
        'select from tenants where id = $1 and delete_at is null for no key update',
        [tenant],
      );
      if (held.length === 0) throw new Problem('NOT_FOUND', 'There is no such tenant.');
      const members = await manager.query<unknown[]>(
        `select from users where tenant = $1 and email_key = $2 and not (${CAN_BE_DISPLACED})`,
        [tenant, email.key],
      );
      if (members.length > 0) throw new Problem('ALREADY_EXISTS', 'There is an account with this e-mail address.');
      const [count] = await manager.query<[{ n: number }]>(
        'select count(*)::int as n from invitations where tenant = $1 and email_key <> $2',
        [tenant, email.key],
      );
      if (count.n >= WAITING_MAX) {
        throw new Problem('RESOURCE_EXHAUSTED', `${WAITING_MAX} invitations wait; revoke some, or let them expire.`);
      }
      await manager.query('delete from invitations where tenant = $1 and email_key = $2', [tenant, email.key]);
      const [made] = await manager.query<[InvitationRow]>(
        `insert into invitations (id, tenant, email, email_key, roles, expires_at)
         values ($1, $2, $3, $4, $5, clock_timestamp() + $6 * interval '1 day') returning ${columns}`,
        [randomUUID(), tenant, email.text, email.key, roles, this.settings.INVITATION_DAYS],
      );
      await this.outbox.add(manager, { kind: 'invitation', tenant, owner: made.id, email });
      await this.audit.recordWithin(manager, call, { tenant, action: 'invitation.create', outcome: 'success' });
      return made;
    });
    this.outbox.wake();
    return row;
  }

  list(): Promise<InvitationRow[]> {
    return this.dataSource.query(
      `select ${columns} from invitations where tenant = $1 and expires_at > clock_timestamp()
       order by created_at desc limit ${SHOWN_MAX}`,
      [currentCaller().tenant],
    );
  }

  /** @throws Problem NOT_FOUND */
  async revoke(call: Call, id: string): Promise<void> {
    const { tenant } = currentCaller();
    if (!UUID.test(id)) throw unknown();
    await transaction(this.dataSource, call, async (manager) => {
      const [, count] = await manager.query<[unknown[], number]>(
        'delete from invitations where tenant = $1 and id = $2',
        [tenant, id],
      );
      if (count === 0) throw unknown();
      await linkStore.withdraw(manager, [id]);
      await this.audit.recordWithin(manager, call, { tenant, action: 'invitation.revoke', outcome: 'success' });
    });
  }

  /** @throws Problem LINK_INVALID, INVALID_ARGUMENT, ALREADY_EXISTS */
  async accept(call: Call, request: accountV1.AcceptInvitationRequest): Promise<UserRow> {
    const hash = readLinkToken(request.token);
    const password = readPassword(request.password);
    const displayName = readText(request.display_name, 'display_name', DISPLAY_NAME_CHARACTERS_MAX);
    const link = await linkStore.find(this.dataSource, call, hash, ['invitation']);
    const [invitation] = link
      ? await this.dataSource.query<InvitationRow[]>(`select ${columns} from invitations where id = $1`, [link.owner])
      : [];
    if (!invitation) throw linkInvalid();
    await this.strength.check(password, [invitation.email, displayName]);
    const passwordHash = await this.change.hash(call, invitation.tenant, password);
    return transaction(this.dataSource, call, async (manager) => {
      const { id, tenant, email, email_key: key } = invitation;
      const owner = { id: randomUUID(), tenant, email: { text: email, key }, passwordHash, displayName };
      const made = await insertProven(manager, { ...owner, roles: invitation.roles });
      const used = await linkStore.use(manager, hash, ['invitation']);
      const [, count] = await manager.query<[unknown[], number]>('delete from invitations where id = $1', [id]);
      if (!used || count === 0) throw linkInvalid();
      if (!made) throw new Problem('ALREADY_EXISTS', 'The address has got an account meanwhile.');
      const { row, displaced: gone } = made;
      const action = 'account.displace';
      if (gone !== undefined)
        await this.audit.recordWithin(manager, call, { tenant, action, outcome: 'success', subject: gone });
      await this.audit.recordWithin(manager, call, {
        tenant,
        action: 'invitation.accept',
        outcome: 'success',
        subject: row.id,
      });
      return row;
    });
  }
}

function unknown(): Problem {
  return new Problem('NOT_FOUND', 'The tenant has no such invitation.');
}
