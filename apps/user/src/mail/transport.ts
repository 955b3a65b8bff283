import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createTransport } from 'nodemailer';
import type { MailSettings } from './mail-settings.js';
import type { FilledTemplate } from './templates.js';

/** One mail as it goes out. */
export interface OutgoingMail extends FilledTemplate {
  /** The same whenever the mail is sent again, so that a reader's program can tell. */
  readonly messageId: string;
  readonly to: string;
  readonly from: string;
}

export interface Transport {
  /** @returns the file it was written to, where it was. @throws MailRefused, or whatever else went wrong this time */
  send(mail: OutgoingMail): Promise<string | undefined>;
  close(): void;
}

/** The server will never take this mail. */
export class MailRefused extends Error {
  override readonly name = 'MailRefused';
}

/** The oldest files give way. */
const FILES_MAX = 500;

/** @returns undefined where nothing can be sent */
export function transportOf(settings: MailSettings): Transport | undefined {
  if (settings.SMTP_URL) return smtp(settings, settings.SMTP_URL);
  return settings.MAIL_FOLDER === undefined ? undefined : folder(resolve(settings.MAIL_FOLDER));
}

function smtp(settings: MailSettings, server: NonNullable<MailSettings['SMTP_URL']>): Transport {
  const ms = settings.MAIL_TIMEOUT_SECONDS * 1000;
  const transporter = createTransport({
    pool: true,
    host: server.host,
    port: server.port,
    secure: server.secure,
    requireTLS: server.requireTls,
    ...(server.auth && { auth: { ...server.auth } }),
    maxConnections: settings.MAIL_CONCURRENCY,
    connectionTimeout: ms,
    greetingTimeout: ms,
    socketTimeout: ms,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  return {
    async send(mail) {
      // The error itself goes no further: what a server says may hold the address.
      const fault = await within(ms, transporter.sendMail(messageOf(mail))).then(
        () => undefined,
        (error: unknown) => faultOf(error),
      );
      if (fault) throw fault;
      return undefined;
    },
    close: () => transporter.close(),
  };
}

/** By number and our own word for the fault. Of the sender's own faults (530, 535: wrong password) the mail is not the cause. */
function faultOf(error: unknown): Error {
  const { code, responseCode, name } = error as Error & { code?: string; responseCode?: number };
  const refused = responseCode !== undefined && responseCode >= 550 && responseCode < 560;
  if (refused) return new MailRefused(`the server answered ${responseCode}`);
  return new Error(`handing over failed (${[code ?? name, responseCode].filter(Boolean).join(' ')})`);
}

/** For development: each mail is a file that a mail program opens. */
function folder(path: string): Transport {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const transporter = createTransport({ streamTransport: true, buffer: true, newline: 'windows' });
  return {
    async send(mail) {
      const { message } = await transporter.sendMail(messageOf(mail));
      const time = new Date().toISOString().replaceAll(/[:.]/g, '-');
      const file = join(path, `${time}-${mail.messageId.slice(1).split('@', 1)[0]!}.eml`);
      writeFileSync(file, message as Buffer, { mode: 0o600 });
      const files = readdirSync(path).filter((name) => name.endsWith('.eml'));
      for (const old of files.toSorted().slice(0, -FILES_MAX)) rmSync(join(path, old), { force: true });
      return file;
    },
    close: () => transporter.close(),
  };
}

/** An address as an object is never read as a list of several. */
function messageOf({ messageId, from, to, subject, text, html }: OutgoingMail) {
  const headers = { 'Auto-Submitted': 'auto-generated' };
  return {
    messageId,
    from: { name: 'Sluice', address: from },
    to: { name: '', address: to },
    subject,
    text,
    html,
    headers,
  };
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(Object.assign(new Error('too late'), { code: 'ETIMEDOUT' })), ms).unref();
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
