import { Inject, Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { hashOfLink, newLinkToken } from '../links/link-token.js';
import { linkStore } from '../links/link-store.js';
import { SETTINGS, type UserSettings } from '../settings.js';
import { kindRow, type LinkAction, type LinkPurpose, type MailKind } from './mail-kinds.js';
import { type FilledTemplate, readTemplates, type Templates } from './templates.js';

/** A mail, and to whom. */
export interface ComposedMail extends FilledTemplate {
  readonly to: string;
}

/** A row of `mail_outbox`. */
export interface OutboxRow {
  readonly id: string;
  readonly kind: MailKind;
  readonly tenant: string;
  readonly owner: string;
  readonly email: string;
  readonly email_key: string;
  readonly attempts: number;
  /** When it was asked for last, as Postgres writes it: to the microsecond. */
  readonly asked_at: string;
  readonly too_old: boolean;
}

const ACCOUNT = 'from users where tenant = $1 and email_key = $2 and delete_at is null';

/**
 * Whom a mail is for, while it still makes sense. The address is the one that is kept, never one as somebody has just typed it: two that
 * are compared as one may be two mailboxes.
 */
const RECIPIENT: Partial<Readonly<Record<MailKind, string>>> = {
  reset: `select id, email ${ACCOUNT} and not guest and locked_at is null and $3::uuid is not null`,
  registered: `select id, email ${ACCOUNT} and $3::uuid is not null`,
  welcome: `select id, email ${ACCOUNT} and id = $3`,
  withdrawn: `select id, email ${ACCOUNT} and id = $3`,
  verify: `select id, email ${ACCOUNT} and id = $3 and email_verified_at is null`,
  claim: `select id, email from registrations
    where tenant = $1 and email_key = $2 and id = $3 and expires_at > clock_timestamp()`,
  'email-old': `select c.id, u.email from email_changes c join users u on u.id = c.user_id
    where u.tenant = $1 and u.email_key = $2 and c.id = $3`,
  'email-new': `select c.id, c.email from email_changes c join users u on u.id = c.user_id
    where u.tenant = $1 and c.email_key = $2 and c.id = $3`,
  invitation: `select id, email from invitations
    where tenant = $1 and email_key = $2 and id = $3 and expires_at > clock_timestamp()`,
  deletion: 'select id, email from users where tenant = $1 and email_key = $2 and id = $3 and delete_at is not null',
};

/** Makes of a row of the outbox a mail, with a new link where it has one. */
@Injectable()
export class Composer {
  private readonly templates: Templates;

  constructor(
    private readonly dataSource: DataSource,
    @Inject(SETTINGS) private readonly settings: UserSettings,
  ) {
    this.templates = readTemplates(settings.MAIL_TEMPLATES);
  }

  /** @returns undefined when there is nothing to tell any more, or nobody to tell */
  async compose(row: OutboxRow): Promise<ComposedMail | undefined> {
    const { template, link } = kindRow(row.kind);
    const query = RECIPIENT[row.kind];
    let recipient: { readonly id: string; readonly email: string } = { id: row.owner, email: row.email };
    if (query !== undefined) {
      const values = [row.tenant, row.email_key, row.owner];
      const [found] = await this.dataSource.query<{ id: string; email: string }[]>(query, values);
      if (!found) return undefined;
      recipient = found;
    }
    const [tenant] = await this.dataSource.query<{ name: string }[]>('select name from tenants where id = $1', [
      row.tenant,
    ]);
    const seconds = link ? this.linkSeconds(link.purpose) : 0;
    let address = '';
    if (link) {
      const token = newLinkToken();
      await linkStore.put(this.dataSource, recipient.id, link.purpose, hashOfLink(token), seconds);
      address = this.linkTo(link.action, token);
    }
    const values = {
      tenant: tenant?.name ?? row.tenant,
      email: recipient.email,
      link: address,
      valid: durationText(seconds),
    };
    return { to: recipient.email, ...this.templates.get(template)!(values) };
  }

  linkSeconds(purpose: LinkPurpose): number {
    const { RESET_LINK_MINUTES, VERIFY_LINK_HOURS, INVITATION_DAYS, ACCOUNT_DELETION_DAYS } = this.settings;
    switch (purpose) {
      case 'reset':
        return RESET_LINK_MINUTES * 60;
      case 'replace':
        return 600;
      case 'verify':
      case 'claim':
      case 'email-old':
      case 'email-new':
        return VERIFY_LINK_HOURS * 3600;
      case 'invitation':
        return INVITATION_DAYS * 86_400;
      case 'restore':
        return ACCOUNT_DELETION_DAYS * 86_400;
    }
  }

  private linkTo(action: LinkAction, token: string): string {
    const { MAIL_LINK_URL, TOKEN_ISSUER } = this.settings;
    const form = MAIL_LINK_URL ?? `${TOKEN_ISSUER.replace(/\/$/, '')}/account/{action}#{token}`;
    return form.replaceAll('{action}', action).replaceAll('{token}', token);
  }
}

function durationText(seconds: number): string {
  const units = [
    [86_400, 'day'],
    [3600, 'hour'],
    [60, 'minute'],
  ] as const;
  const [size, unit] = units.find(([size]) => seconds >= size && seconds % size === 0) ?? [60, 'minute'];
  const count = Math.round(seconds / size);
  return `${count} ${unit}${count === 1 ? '' : 's'}`;
}
