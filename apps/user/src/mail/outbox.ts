import { createHash } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import { networkOf } from '@sluice/identity';
import { Problem } from '@sluice/problem';
import type { Call } from '@sluice/service';
import { execute, statement } from '@sluice/storage';
import { Subject } from 'rxjs';
import { DataSource, type EntityManager } from 'typeorm';
import type { Email } from '../accounts/email.js';
import { SETTINGS, type UserSettings } from '../settings.js';
import type { MailKind } from './mail-kinds.js';

/** A mail that is to be sent. It has no secret: a link is made when it is sent. */
export interface NewMail {
  readonly kind: MailKind;
  readonly tenant: string;
  readonly email: Email;
  /** Whom or what it is about; undefined: the account of the address, if there is one. */
  readonly owner?: string;
}

const PACE_ALL = 4;
/** The owner of a mail to whoever has the address. */
const NOBODY = '00000000-0000-0000-0000-000000000000';

/** GCRA over an hour: `$2[i]` mails may come at once for key `$1[i]`. A row comes back for each key that is due. */
const takePace = statement<{ key: string }>(
  'mail-pace',
  `insert into mail_pace as p (key, due_at)
   select key, clock_timestamp() + interval '1 hour' / hourly from unnest($1::text[], $2::int[]) as k (key, hourly) order by key
   on conflict (key) do update set due_at = greatest(p.due_at, clock_timestamp()) + (
     select interval '1 hour' / hourly from unnest($1::text[], $2::int[]) as k (key, hourly) where k.key = p.key)
   where p.due_at <= clock_timestamp() + interval '1 hour' - (
     select interval '1 hour' / hourly from unnest($1::text[], $2::int[]) as k (key, hourly) where k.key = p.key)
   returning key`,
);

const ADD = `insert into mail_outbox (kind, tenant, owner, email, email_key) values ($1, $2, $3, $4, $5)
  on conflict (email_key, tenant, kind, owner) do update
  set email = excluded.email, attempts = 0, created_at = clock_timestamp(), due_at = clock_timestamp()`;

/** Mails on their way: written with what they tell of, in one transaction, and sent by whichever replica comes first. */
@Injectable()
export class Outbox {
  /** Fires when this process has added a mail. */
  readonly added = new Subject<void>();
  /** How many wait, as the sender saw last. */
  waiting = 0;

  constructor(
    private readonly dataSource: DataSource,
    @Inject(SETTINGS) private readonly settings: UserSettings,
  ) {}

  /** Whether mails go anywhere. */
  get works(): boolean {
    return this.settings.SMTP_URL !== undefined || this.settings.MAIL_FOLDER !== undefined;
  }

  /** @throws Problem FAILED_PRECONDITION where nothing can be mailed */
  require(): void {
    if (this.works) return;
    throw new Problem(
      'FAILED_PRECONDITION',
      'This installation sends no mail: its operator has to set SMTP_URL. An administrator can help meanwhile.',
    );
  }

  /** Within the transaction that the mail tells of. Without a way to send, a mail that only tells is left out. Call {@link wake} after it. */
  async add(manager: Pick<EntityManager, 'query'>, { kind, tenant, owner, email }: NewMail): Promise<void> {
    if (!this.works) return;
    await manager.query(ADD, [kind, tenant, owner ?? NOBODY, email.text, email.key]);
  }

  /** By itself. */
  async send(mail: NewMail): Promise<void> {
    await this.add(this.dataSource, mail);
    this.wake();
  }

  wake(): void {
    this.added.next();
  }

  /**
   * Counts a mail that a stranger asks for, alike whether the address is known. Called before anything else happens.
   *
   * @throws Problem RATE_LIMIT_EXCEEDED, OVERLOADED
   */
  async takePace(call: Call, tenant: string, email: Email): Promise<void> {
    if (this.waiting >= this.settings.MAIL_WAITING_MAX) {
      throw new Problem('OVERLOADED', 'Too many mails wait to be sent.', { details: { retry_after_ms: 30_000 } });
    }
    const hourly = this.settings.MAIL_PER_ACCOUNT_HOURLY;
    const account = createHash('sha256').update(`${tenant}\n${email.key}`).digest('hex').slice(0, 32);
    const keys = [`all/${account}`, `by/${account}/${networkOf(call.clientAddress)}`];
    const due = await execute(this.dataSource, call, takePace, [keys, [hourly * PACE_ALL, hourly]]);
    if (due.length === keys.length) return;
    const waitMs = Math.ceil(3_600_000 / hourly);
    throw new Problem('RATE_LIMIT_EXCEEDED', 'Too many mails were asked for this address; look into its mailbox.', {
      details: {
        blocked_by: 'user',
        policy: 'account-mails',
        limit: hourly,
        window_seconds: 3600,
        retry_after_ms: waitMs,
      },
    });
  }
}
