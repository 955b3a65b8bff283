import { Inject, Injectable } from '@nestjs/common';
import { Problem } from '@sluice/problem';
import { type Call, LOGGER } from '@sluice/service';
import type { Logger } from '@sluice/telemetry';
import { DataSource } from 'typeorm';
import { linkStore } from '../links/link-store.js';
import { hashOfLink, newLinkToken } from '../links/link-token.js';
import type { LinkPurpose } from '../mail/mail-kinds.js';
import { Outbox } from '../mail/outbox.js';
import { SETTINGS, type UserSettings } from '../settings.js';
import type { UserRow } from './account-store.js';
import { readEmail } from './email.js';

/** How long what a refused login gives can be used. */
const TOKEN_SECONDS = 600;

/** Whether a user who has shown the right password may come in, and what else is to be done first. */
@Injectable()
export class Admission {
  constructor(
    private readonly dataSource: DataSource,
    private readonly outbox: Outbox,
    @Inject(SETTINGS) private readonly settings: UserSettings,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** Of a login with the right password, as it is recorded. */
  outcomeOf(user: UserRow): 'success' | 'locked' | 'closing' | 'unverified' | 'password-expired' {
    if (user.locked_at) return 'locked';
    if (this.settings.EMAIL_VERIFICATION === 'login' && !user.email_verified) return 'unverified';
    if (user.delete_at) return 'closing';
    return user.password_expired ? 'password-expired' : 'success';
  }

  /**
   * @throws Problem PERMISSION_DENIED for a locked account; ACCOUNT_CLOSING and PASSWORD_CHANGE_REQUIRED with a token that keeps the account
   *   or sets another password; INVALID_CREDENTIALS for an address that is not verified, as for a wrong password: who registers an
   *   address must not learn from a login whether it had an account
   */
  async admit(call: Call, user: UserRow): Promise<void> {
    switch (this.outcomeOf(user)) {
      case 'success':
        return;
      case 'locked':
        throw new Problem('PERMISSION_DENIED', 'The account is locked.');
      case 'unverified':
        this.mailAgain(call, user);
        throw this.wrong();
      case 'closing':
        throw await this.withToken(
          user,
          'restore',
          'ACCOUNT_CLOSING',
          `The account will be deleted on ${user.delete_at!.toISOString()}; details.token keeps it, with POST /api/v1/auth/restore.`,
        );
      case 'password-expired':
        throw await this.withToken(
          user,
          'replace',
          'PASSWORD_CHANGE_REQUIRED',
          'Choose another password: details.token sets it, with POST /api/v1/auth/password/reset.',
        );
    }
  }

  /** One answer for every login that shows nothing right, or not enough. */
  wrong(): Problem {
    const hint =
      this.settings.EMAIL_VERIFICATION === 'login'
        ? ', or the address is not verified yet: open the link that was mailed to it'
        : '';
    return new Problem('INVALID_CREDENTIALS', `The e-mail address or the password is wrong${hint}.`);
  }

  private async withToken(
    user: UserRow,
    purpose: LinkPurpose,
    code: 'ACCOUNT_CLOSING' | 'PASSWORD_CHANGE_REQUIRED',
    detail: string,
  ): Promise<Problem> {
    const token = newLinkToken();
    await linkStore.put(this.dataSource, user.id, purpose, hashOfLink(token), TOKEN_SECONDS);
    return new Problem(code, detail, { details: { token, expires_in: TOKEN_SECONDS, oauth_error: 'invalid_grant' } });
  }

  /** Not waited for: the answer comes as soon as that to a wrong password. */
  private mailAgain(call: Call, user: UserRow): void {
    if (user.email === null) return;
    const { tenant, id: owner } = user;
    const email = readEmail(user.email);
    void this.outbox
      .takePace({ ...call, signal: new AbortController().signal }, tenant, email)
      .then(() => this.outbox.send({ kind: 'verify', tenant, owner, email }))
      .catch((error: unknown) => {
        const limited = error instanceof Problem && error.status < 500;
        if (!limited) this.logger.warn({ err: error }, 'the mail of an unverified login could not be written');
      });
  }
}
