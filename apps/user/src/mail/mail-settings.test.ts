import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigurationError, readSettings } from '@sluice/config';
import { afterAll, describe, expect, test } from 'vitest';
import { checkMailSettings, mailSettings } from './mail-settings.js';
import { mailKinds } from './mail-kinds.js';
import { readTemplates } from './templates.js';

const read = (environment: Record<string, string>) => readSettings(mailSettings, environment);
const faultsOf = (work: () => unknown): readonly string[] => {
  try {
    work();
  } catch (error) {
    if (error instanceof ConfigurationError) return error.faults;
    throw error;
  }
  return [];
};

describe('SMTP_URL', () => {
  test('says where, how and as whom; TLS is needed away from loopback', () => {
    expect(read({ SMTP_URL: 'smtp://ada:p%40ss@mail.example.com' }).SMTP_URL).toEqual({
      host: 'mail.example.com',
      port: 587,
      secure: false,
      requireTls: true,
      auth: { user: 'ada', pass: 'p@ss' },
    });
    expect(read({ SMTP_URL: 'smtps://mail.example.com' }).SMTP_URL).toMatchObject({ port: 465, secure: true });
    expect(read({ SMTP_URL: 'smtp://127.0.0.1:2525' }).SMTP_URL).toMatchObject({ requireTls: false });
    expect(read({ SMTP_URL: 'smtp://mail:25?tls=optional' }).SMTP_URL).toMatchObject({ requireTls: false });
  });

  test.each([
    'mail.example.com',
    'http://mail',
    'smtp://',
    'smtp://a@mail',
    'smtp://a:%zz@mail',
    'smtp://mail/x',
    'smtp://mail?tls=no',
  ])('%s stops the start and is not shown', (url) => {
    const [fault] = faultsOf(() => read({ SMTP_URL: url }));
    expect(fault).toMatch(/^SMTP_URL=\(secret\): expected smtp:/);
  });
});

test.each(['login', 'budgets'])('verification for %s without a way to mail stops the start', (mode) => {
  const check = (more: Record<string, string>) =>
    faultsOf(() => checkMailSettings(read({ EMAIL_VERIFICATION: mode, ...more })));
  expect(check({})).toEqual([expect.stringMatching(/^EMAIL_VERIFICATION=".*": expected SMTP_URL/)]);
  expect(check({ SMTP_URL: 'smtp://127.0.0.1' })).toEqual([]);
  expect(check({ SMTP_URL: 'smtp://127.0.0.1', MAIL_FOLDER: 'mail' })).toEqual([expect.stringContaining('no effect')]);
});

describe('templates', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-templates-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const values = { tenant: 'A & B <c>', email: 'ada@example.com', link: 'https://x/#slk', valid: '1 hour' };

  test('are there for every mail, in both forms, escaped where it is HTML', () => {
    const templates = readTemplates(undefined);
    for (const { template } of Object.values(mailKinds)) {
      const { subject, text, html } = templates.get(template)!(values);
      expect(subject).not.toBe('');
      expect(`${subject}${text}${html}`).not.toContain('{{');
      expect(html).not.toContain('<c>');
    }
    const { subject } = templates.get('invitation')!({ ...values, tenant: 'A\r\nBcc: x@example.com' });
    expect(subject).toBe('Invitation to A Bcc: x@example.com');
  });

  test('of one’s own take the place of the built-in ones, and every mistake is told at once', () => {
    writeFileSync(join(folder, 'reset.txt'), 'Subject: Hallo\n\n{{link}}\n');
    writeFileSync(join(folder, 'reset.html'), '<p>{{link}}</p>');
    expect(readTemplates(folder).get('reset')!(values)).toEqual({
      subject: 'Hallo',
      text: 'https://x/#slk\n',
      html: '<p>https://x/#slk</p>',
    });
    writeFileSync(join(folder, 'reset.html'), '<p>{{name}}</p>');
    writeFileSync(join(folder, 'reset.txt'), 'Hallo {{link}}');
    writeFileSync(join(folder, 'verify.txt'), 'Subject: x\n\n{{link}}');
    writeFileSync(join(folder, 'rest.txt'), 'x');
    const faults = faultsOf(() => readTemplates(folder)).join('\n');
    for (const part of [
      'reset.html: expected one of {{tenant}}',
      'reset.html: expected {{link}}',
      'reset.txt: expected `Subject',
      'verify.html',
      'rest.txt: expected one of',
    ]) {
      expect(faults).toContain(part);
    }
    expect(faultsOf(() => readTemplates(join(folder, 'nowhere')))).toHaveLength(1);
  });
});
