/** Passwords that are changed, forgotten, set and withdrawn, over two replicas, with mails through a real SMTP server. */
import type { accountV1, userV1 } from '@sluice/contract';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Mailbox } from '../../testdata/mailbox.js';
import { CallError, failure, type Identity, identityOf, signIn, signInAdmin, UserSystem } from '../replicas.fixture.js';

const NEW = 'a lamp, two boats and the sea';
const OTHER = 'seven quiet trains to Aarhus';

let mailbox: Mailbox;
let system: UserSystem;
let admin: Identity;

beforeAll(async () => {
  mailbox = await Mailbox.start();
  system = await UserSystem.start(2, { SMTP_URL: mailbox.url, MAIL_PER_ACCOUNT_HOURLY: '5' });
  admin = await signInAdmin(system);
});
afterAll(async () => {
  await system?.stop();
  await mailbox?.stop();
});

let addresses = 0;
const somewhere = () => ({ 'client-ip': `198.51.100.${++addresses}` });
const login = (email: string, password: string, replica = 0) =>
  system.replica(replica).call<userV1.TokenResponse>('UserService/Login', { email, password }, somewhere());
const account = <T>(method: string, request: object, identity: Identity = {}, replica = 0) =>
  system.replica(replica).call<T>(`AccountService/${method}`, request, identity);
const asAdmin = <T>(method: string, request: object, identity = admin) =>
  system.replica(1).call<T>(`AccountAdminService/${method}`, request, identity);
const refresh = (tokens: userV1.TokenResponse) =>
  system.replica(1).call('UserService/Refresh', { refresh_token: tokens.refresh_token });
const forgot = (email: string, replica = 0, identity: Identity = somewhere()) =>
  account('RequestPasswordReset', { email }, identity, replica);
const codeOf = async (call: Promise<unknown>) =>
  call.then(
    () => 'OK',
    (error: CallError) => error.failure.code,
  );

describe('a change', () => {
  test('needs the old password, ends the other sessions and keeps the one that asks', async () => {
    const user = await signIn(system.first);
    const other = await login(user.email, user.password, 1);
    const change = (current_password: string, new_password: string) =>
      account<accountV1.ChangePasswordResponse>('ChangePassword', { current_password, new_password }, user.identity);
    expect(await failure(change('not it at all', NEW))).toMatchObject({
      code: 'INVALID_CREDENTIALS',
      details: { field: 'current_password' },
    });
    expect((await failure(change(user.password, 'password'))).details).toEqual({ field: 'new_password' });
    expect((await failure(change(user.password, user.password))).details).toEqual({ field: 'new_password' });
    expect(await change(user.password, NEW)).toEqual({ sessions_ended: 1 });
    await expect(refresh(user.tokens)).resolves.toBeDefined();
    expect(await codeOf(refresh(other))).toBe('INVALID_GRANT');
    expect(await codeOf(login(user.email, user.password))).toBe('INVALID_CREDENTIALS');
    await expect(login(user.email, NEW, 1)).resolves.toBeDefined();
    expect((await mailbox.next(user.email)).subject).toContain('was changed');
  });

  test('of many at once one wins, and the session of a token that was logged out changes nothing', async () => {
    const user = await signIn(system.first);
    const codes = await Promise.all(
      Array.from({ length: 6 }, (_, at) =>
        codeOf(
          account(
            'ChangePassword',
            { current_password: user.password, new_password: `${NEW} ${at}` },
            user.identity,
            at,
          ),
        ),
      ),
    );
    expect(codes.filter((code) => code === 'OK')).toHaveLength(1);
    expect(codes.every((code) => ['OK', 'ABORTED', 'INVALID_CREDENTIALS'].includes(code))).toBe(true);
    const again = await signIn(system.first);
    await system.first.call('UserService/Logout', {}, again.identity);
    const late = account('ChangePassword', { current_password: again.password, new_password: NEW }, again.identity);
    expect((await failure(late)).code).toBe('SESSION_REVOKED');
    await expect(login(again.email, again.password)).resolves.toBeDefined();
  });

  test('by guesses of whoever holds a token waits like a login', async () => {
    const user = await signIn(system.first);
    const codes = [];
    for (let guess = 0; guess < 8; guess++) {
      const request = { current_password: `guess number ${guess}`, new_password: NEW };
      codes.push(await codeOf(account('ChangePassword', request, { ...user.identity, 'client-ip': '203.0.113.50' })));
    }
    expect(codes).toContain('RATE_LIMIT_EXCEEDED');
  });
});

describe('a reset', () => {
  test('comes by a mailed link that works once, ends every session and lets the owner in', async () => {
    const user = await signIn(system.first);
    await forgot(user.email.toUpperCase());
    const mail = await mailbox.next(user.email);
    expect(mail.text).toContain(`http://localhost:8083/account/reset#${mail.token}`);
    expect(mail.source).toContain('multipart/alternative');
    const weak = account('ResetPassword', { token: mail.token, password: '12345678' });
    expect((await failure(weak)).details).toEqual({ field: 'password' });
    await account('ResetPassword', { token: mail.token, password: NEW }, {}, 1);
    expect((await failure(account('ResetPassword', { token: mail.token, password: OTHER }))).code).toBe('LINK_INVALID');
    expect(await codeOf(refresh(user.tokens))).toBe('INVALID_GRANT');
    expect(await codeOf(login(user.email, user.password))).toBe('INVALID_CREDENTIALS');
    await expect(login(user.email, NEW, 1)).resolves.toBeDefined();
    expect((await mailbox.next(user.email)).subject).toContain('was changed');
  });

  test('answers alike for addresses that nobody has, of which nothing is mailed and nothing stays', async () => {
    const { email } = await signIn(system.first);
    expect(await forgot('nobody@example.com')).toEqual(await forgot(email));
    await mailbox.next(email);
    await expect.poll(async () => (await system.sql('select 1 from mail_outbox')).length).toBe(0);
    expect(mailbox.received.map(({ to }) => to)).not.toContain('nobody@example.com');
    const limits = async (address: string) => {
      const from = somewhere();
      const codes = [];
      for (let ask = 0; ask < 7; ask++) codes.push(await codeOf(forgot(address, ask, from)));
      return codes;
    };
    const [known, unknown] = [await limits(email), await limits('nobody@example.com')];
    expect(known).toEqual(unknown);
    expect(known.at(-1)).toBe('RATE_LIMIT_EXCEEDED');
    // Somebody else's questions do not keep the owner from his mail.
    expect(await codeOf(forgot(email))).toBe('OK');
  });

  test('goes to the address that is kept, whichever that is compared as the same was typed', async () => {
    await system.first.call('UserService/Register', {
      email: 'strasse@example.com',
      password: 'correct horse battery',
    });
    await forgot('straße@example.com');
    await mailbox.next('strasse@example.com');
    expect(mailbox.received.map(({ to }) => to)).not.toContain('straße@example.com');
  });

  test('has one link at a time: the one before works no more', async () => {
    const { email } = await signIn(system.first);
    await forgot(email);
    const first = await mailbox.next(email);
    await forgot(email, 1);
    const second = await mailbox.next(email);
    expect(await codeOf(account('ResetPassword', { token: first.token, password: NEW }))).toBe('LINK_INVALID');
    expect(await codeOf(account('ResetPassword', { token: second.token, password: NEW }))).toBe('OK');
  });

  test.each([1, 2, 3])('by many at once over two replicas is done by exactly one (round %i)', async () => {
    const { email } = await signIn(system.first);
    await forgot(email);
    const { token } = await mailbox.next(email);
    const passwords = Array.from({ length: 8 }, (_, at) => `${NEW} of ${at}`);
    const codes = await Promise.all(
      passwords.map((password, at) => codeOf(account('ResetPassword', { token, password }, {}, at))),
    );
    expect(codes.toSorted()).toEqual([...Array.from({ length: 7 }, () => 'LINK_INVALID'), 'OK']);
    await expect(login(email, passwords[codes.indexOf('OK')]!)).resolves.toBeDefined();
  });

  test('is void when the password was changed meanwhile, when its time is over, and when it was made up', async () => {
    const user = await signIn(system.first);
    await forgot(user.email);
    const { token } = await mailbox.next(user.email);
    await account('ChangePassword', { current_password: user.password, new_password: NEW }, user.identity);
    expect(await codeOf(account('ResetPassword', { token, password: OTHER }))).toBe('LINK_INVALID');
    await mailbox.next(user.email);
    await forgot(user.email);
    const late = await mailbox.next(user.email);
    await system.sql(`update account_links set expires_at = now() - interval '1 s'`);
    expect(await codeOf(account('ResetPassword', { token: late.token, password: OTHER }))).toBe('LINK_INVALID');
    for (const made of ['', 'x', `slk_${'A'.repeat(43)}`]) {
      expect(await codeOf(account('ResetPassword', { token: made, password: OTHER }))).toBe('LINK_INVALID');
    }
  });

  test('keeps no token in the database', async () => {
    const { email } = await signIn(system.first);
    await forgot(email);
    const { token } = await mailbox.next(email);
    const dump = JSON.stringify([
      await system.sql('select * from account_links'),
      await system.sql('select * from mail_outbox'),
      await system.sql('select * from audit_events'),
    ]);
    expect(dump).not.toContain(token);
    expect(dump).not.toContain(token.slice(4, 30));
  });

  test('lets an owner in whom a stranger has locked out by guesses', async () => {
    const { email } = await signIn(system.first);
    for (let guess = 0; guess < 24; guess++) await codeOf(login(email, `guess number ${guess}`));
    expect(await codeOf(login(email, NEW))).toBe('RATE_LIMIT_EXCEEDED');
    await forgot(email);
    const { token } = await mailbox.next(email);
    await account('ResetPassword', { token, password: NEW }, somewhere());
    await expect(login(email, NEW)).resolves.toBeDefined();
  });
});

describe('an administrator', () => {
  test('sets a password that the next login must replace, which it can at once', async () => {
    const user = await signIn(system.first);
    const set = { user_id: user.user.id, password: NEW };
    expect(await asAdmin('SetPassword', set)).toMatchObject({ password_expired: true });
    expect(await codeOf(refresh(user.tokens))).toBe('INVALID_GRANT');
    const refused = await failure(login(user.email, NEW));
    expect(refused.code).toBe('PASSWORD_CHANGE_REQUIRED');
    const token = String(refused.details['token']);
    expect(refused.details['expires_in']).toBe(600);
    await account('ResetPassword', { token, password: OTHER });
    await expect(login(user.email, OTHER)).resolves.toBeDefined();
    await asAdmin('SetPassword', { ...set, permanent: true });
    await expect(login(user.email, NEW)).resolves.toBeDefined();
  });

  test('demands another password at the next login, and the right one is needed for that', async () => {
    const user = await signIn(system.first);
    await asAdmin('ExpirePassword', { user_id: user.user.id });
    expect(await codeOf(login(user.email, 'not it at all'))).toBe('INVALID_CREDENTIALS');
    expect(await codeOf(login(user.email, user.password, 1))).toBe('PASSWORD_CHANGE_REQUIRED');
  });

  test('withdraws one that somebody else knows: the runbook', async () => {
    const user = await signIn(system.first);
    await asAdmin('WithdrawPassword', { user_id: user.user.id });
    expect(await codeOf(login(user.email, user.password))).toBe('INVALID_CREDENTIALS');
    expect(await codeOf(refresh(user.tokens))).toBe('INVALID_GRANT');
    const { token } = await mailbox.next(user.email);
    await account('ResetPassword', { token, password: NEW });
    await expect(login(user.email, NEW)).resolves.toBeDefined();
  });

  test('who is no operator does none of it to an operator, and nobody to another tenant', async () => {
    const plain = { ...(await signIn(system.first)).identity, roles: 'admin' };
    const requests = {
      SetPassword: { password: NEW },
      ExpirePassword: {},
      WithdrawPassword: {},
      DeleteUser: {},
      EndUserSessions: {},
    };
    for (const [method, request] of Object.entries(requests)) {
      const to = (identity: Identity) => codeOf(asAdmin(method, { user_id: admin.subject, ...request }, identity));
      expect([method, await to(plain)]).toEqual([method, 'PERMISSION_DENIED']);
      expect([method, await to({ ...plain, tenant: 'elsewhere' })]).toEqual([method, 'NOT_FOUND']);
      expect([method, await to({ ...plain, roles: '' })]).toEqual([method, 'PERMISSION_DENIED']);
    }
    await expect(system.first.call('UserService/GetMe', {}, admin)).resolves.toBeDefined();
  });
});

test('logins that overlap a reset leave no session that the former password opened', async () => {
  for (let round = 0; round < 10; round++) {
    const user = await signIn(system.first);
    await forgot(user.email);
    const { token } = await mailbox.next(user.email);
    const logins = Array.from({ length: 4 }, (_, at) => login(user.email, user.password, at).catch(() => undefined));
    await Promise.all([account('ResetPassword', { token, password: NEW }), ...logins]);
    const alive = await system.sql('select 1 from sessions where user_id = $1 and revoked_at is null', [user.user.id]);
    expect(alive).toEqual([]);
    expect(identityOf((await login(user.email, NEW)).access_token).subject).toBe(user.user.id);
    mailbox.received.length = 0;
  }
});
