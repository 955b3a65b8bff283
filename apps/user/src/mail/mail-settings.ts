import { choice, ConfigurationError, integer, optionalText, type Setting, type SettingsOf, text } from '@sluice/config';

/** An SMTP server, with what it wants to see. */
export interface SmtpServer {
  readonly host: string;
  readonly port: number;
  /** TLS from the first octet on (`smtps:`). */
  readonly secure: boolean;
  /** Cleartext connections must become TLS (STARTTLS) before anything is said; false on loopback, or where `tls=optional` says so. */
  readonly requireTls: boolean;
  readonly auth: { readonly user: string; readonly pass: string } | undefined;
}

const LOOPBACK = new Set(['127.0.0.1', '[::1]', 'localhost']);

const smtpUrl: Setting<SmtpServer | undefined> = {
  describe:
    'Where mails are handed over. `smtps:` is TLS from the start; `smtp:` becomes TLS by STARTTLS, and a server that cannot gets nothing, unless it is on loopback or `?tls=optional` says so.',
  expect: 'smtp://user:password@host:587 or smtps://user:password@host:465, user and password percent-encoded',
  fallback: undefined,
  secret: true,
  absent: 'undefined',
  parse(value) {
    if (!URL.canParse(value)) return undefined;
    const url = new URL(value);
    const secure = url.protocol === 'smtps:';
    if (!secure && url.protocol !== 'smtp:') return undefined;
    if (url.hostname === '' || !/^\/?$/.test(url.pathname) || url.hash !== '') return undefined;
    const optional = url.search === '?tls=optional';
    if (url.search !== '' && (!optional || secure)) return undefined;
    if ((url.username === '') !== (url.password === '')) return undefined;
    try {
      const auth = { user: decodeURIComponent(url.username), pass: decodeURIComponent(url.password) };
      return {
        host: url.hostname.replace(/^\[|\]$/g, ''),
        port: url.port === '' ? (secure ? 465 : 587) : Number(url.port),
        secure,
        requireTls: !secure && !optional && !LOOPBACK.has(url.hostname),
        auth: auth.user === '' ? undefined : auth,
      };
    } catch {
      return undefined;
    }
  },
};

const sender: Setting<string> = {
  ...text('The address that mails come from.', 'sluice@localhost'),
  expect: 'an e-mail address such as accounts@example.com',
  parse: (value) => (/^[\x21-\x3f\x41-\x7e]{1,64}@[a-zA-Z0-9.-]{1,190}$/.test(value) ? value : undefined),
};

const links: Setting<string | undefined> = {
  ...optionalText(
    'Where the links of mails lead: a page of yours that takes `{action}` (reset, verify, email, invitation, restore) and `{token}`, and calls the method. ' +
      'Keep the token behind `#`, where no server logs it. Without it: TOKEN_ISSUER/account/{action}#{token}.',
  ),
  expect: 'an http(s) address with {action} and {token} in it',
  parse(value) {
    const filled = value.replace('{action}', 'reset').replace('{token}', 'token');
    const whole = value.includes('{action}') && value.includes('{token}') && URL.canParse(filled);
    return whole && /^https?:/.test(filled) ? value : undefined;
  },
};

/** What mails need, and how long what they ask for is good. */
export const mailSettings = {
  SMTP_URL: smtpUrl,
  MAIL_FROM: sender,
  MAIL_FOLDER: optionalText(
    'Without SMTP_URL mails are written into this folder, for development; `npm start` sets it to .sluice/mail, unless NODE_ENV=production. Without both nothing is mailed, and methods that would are refused.',
  ),
  MAIL_TEMPLATES: optionalText(
    'A folder whose files (`reset.txt` and `reset.html`, for example) take the place of the built-in ones in apps/user/templates.',
  ),
  MAIL_LINK_URL: links,
  MAIL_CONCURRENCY: integer('Mails that are handed over at the same time.', 4, { min: 1, max: 100 }),
  MAIL_TIMEOUT_SECONDS: integer('How long handing over one mail may take.', 30, { min: 1, max: 300 }),
  MAIL_RETRY_HOURS: integer('For how long a mail that cannot be handed over is tried again.', 24, { min: 1, max: 240 }),
  MAIL_WAITING_MAX: integer('Mails that may wait; strangers who ask for more are refused with 503.', 10_000, {
    min: 10,
    max: 10_000_000,
  }),
  MAIL_PER_ACCOUNT_HOURLY: integer(
    'Mails that may be asked for within an hour for one address by one network; 4 times as many by all together.',
    5,
    { min: 1, max: 100_000 },
  ),
  EMAIL_VERIFICATION: choice(
    'Whether addresses must be verified by a mailed link: `none`; for `login`; for `budgets`: unverified users may sign in and not spend.',
    ['none', 'login', 'budgets'],
    'none',
  ),
  RESET_LINK_MINUTES: integer('For how long a link to set a password works.', 30, { min: 1, max: 1440 }),
  VERIFY_LINK_HOURS: integer('For how long a link to verify an address works.', 24, { min: 1, max: 720 }),
  INVITATION_DAYS: integer('For how long an invitation can be accepted.', 7, { min: 1, max: 90 }),
  ACCOUNT_DELETION_DAYS: integer('For how long an account that is to be deleted can be kept after all.', 14, {
    min: 0,
    max: 90,
  }),
} as const;

export type MailSettings = SettingsOf<typeof mailSettings>;

/** @throws ConfigurationError for what cannot work together */
export function checkMailSettings(settings: MailSettings): void {
  const faults: string[] = [];
  if (settings.EMAIL_VERIFICATION !== 'none' && !settings.SMTP_URL && !settings.MAIL_FOLDER) {
    faults.push(
      `EMAIL_VERIFICATION=${JSON.stringify(settings.EMAIL_VERIFICATION)}: expected SMTP_URL too, since an address is verified by mail (or MAIL_FOLDER, for development)`,
    );
  }
  if (settings.SMTP_URL && settings.MAIL_FOLDER) {
    faults.push(
      `MAIL_FOLDER=${JSON.stringify(settings.MAIL_FOLDER)}: has no effect beside SMTP_URL; expected one of them`,
    );
  }
  if (faults.length > 0) throw new ConfigurationError(faults);
}
