/** What administrators and operators do with members and tenants, and users with their own account; with a real SMTP server. */
import type { accountV1, userV1 } from '@sluice/contract';
import { DataSource } from 'typeorm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { prune } from '../housekeeping/prune.js';
import { Mailbox } from '../../testdata/mailbox.js';
import { erase } from '../privacy/erasure.js';
import {
  CallError,
  failure,
  type Identity,
  identityOf,
  messagesOf,
  signIn,
  signInAdmin,
  UserSystem,
} from '../replicas.fixture.js';

const PASSWORD = 'a lamp, two boats and the sea';

let mailbox: Mailbox;
let system: UserSystem;
let admin: Identity;
let dataSource: DataSource;

beforeAll(async () => {
  mailbox = await Mailbox.start();
  system = await UserSystem.start(2, { SMTP_URL: mailbox.url });
  admin = await signInAdmin(system);
  const extra = { options: '-c search_path=identity' };
  dataSource = await new DataSource({ type: 'postgres', url: system.postgres.url, extra }).initialize();
});
afterAll(async () => {
  await dataSource?.destroy();
  await system?.stop();
  await mailbox?.stop();
});

const asAdmin = <T>(method: string, request: object, identity = admin) =>
  system.replica(1).call<T>(`AccountAdminService/${method}`, request, identity);
const account = <T>(method: string, request: object, identity: Identity = {}) =>
  system.first.call<T>(`AccountService/${method}`, request, identity);
const login = (email: string, password = PASSWORD, tenant = '') =>
  system.first.call<userV1.TokenResponse>('UserService/Login', { email, password, tenant });
const codeOf = async (call: Promise<unknown>) =>
  call.then(
    () => 'OK',
    (error: CallError) => error.failure.code,
  );
const makeTenant = (id: string, open_registration = false) =>
  system.first.call('AdminService/CreateTenant', { id, name: `${id} & Sons`, open_registration }, admin);

/** A record of an export, as proto-loader reads a Value. */
type Exported = {
  service: string;
  kind: string;
  data: { structValue: { fields: Record<string, { stringValue?: string }> } };
};
const kindsOf = (records: readonly Exported[]) => records.map(({ kind }) => kind);

describe('an invitation', () => {
  test('makes a member of a closed tenant, with the roles that it carries, from a mail', async () => {
    await makeTenant('closed');
    const invitation = await asAdmin<accountV1.Invitation>('CreateInvitation', {
      email: 'first@closed.example',
      roles: ['admin'],
      tenant: 'closed',
    });
    expect(invitation).toMatchObject({ tenant: 'closed', roles: ['admin'] });
    const mail = await mailbox.next('first@closed.example');
    expect(mail.subject).toBe('Invitation to closed & Sons');
    expect(mail.source).toContain('closed &amp; Sons');
    const accept = { token: mail.token, password: PASSWORD, display_name: 'Ada' };
    expect((await failure(account('AcceptInvitation', { ...accept, password: 'password' }))).details).toEqual({
      field: 'password',
    });
    const codes = await Promise.all(
      [0, 1, 2, 3].map((at) => codeOf(system.replica(at).call('AccountService/AcceptInvitation', accept))),
    );
    expect(codes.toSorted()).toEqual(['LINK_INVALID', 'LINK_INVALID', 'LINK_INVALID', 'OK']);
    const tokens = await login('first@closed.example', PASSWORD, 'closed');
    const first = identityOf(tokens.access_token);
    expect(first).toMatchObject({ tenant: 'closed', roles: 'admin' });
    const me = await system.first.call<userV1.User>('UserService/GetMe', {}, first);
    expect(me).toMatchObject({ email_verified: true, display_name: 'Ada' });
    expect(await asAdmin('ListInvitations', {}, first)).toEqual({ invitations: [] });
    // And invites further ones, in his own tenant alone.
    await asAdmin('CreateInvitation', { email: 'second@closed.example' }, first);
    const elsewhere = { email: 'x@closed.example', tenant: 'default' };
    expect(await codeOf(asAdmin('CreateInvitation', elsewhere, first))).toBe('PERMISSION_DENIED');
    const above = { email: 'x@closed.example', roles: ['operator'] };
    expect(await codeOf(asAdmin('CreateInvitation', above, first))).toBe('PERMISSION_DENIED');
    const known = { email: 'FIRST@closed.example' };
    expect(await codeOf(asAdmin('CreateInvitation', known, first))).toBe('ALREADY_EXISTS');
  });

  test('is listed, replaced by a second one, and revoked; then its link works no more', async () => {
    const email = 'guest-speaker@example.com';
    const before = await asAdmin<accountV1.Invitation>('CreateInvitation', { email });
    const old = await mailbox.next(email);
    const now = await asAdmin<accountV1.Invitation>('CreateInvitation', { email, roles: ['editor'] });
    const { token } = await mailbox.next(email);
    const { invitations } = await asAdmin<accountV1.ListInvitationsResponse>('ListInvitations', {});
    expect(invitations.map(({ id }) => id)).toContain(now.id);
    expect(invitations.map(({ id }) => id)).not.toContain(before.id);
    const accept = (text: string) => codeOf(account('AcceptInvitation', { token: text, password: PASSWORD }));
    expect(await accept(old.token)).toBe('LINK_INVALID');
    const revoke = (identity: Identity) => codeOf(asAdmin('RevokeInvitation', { invitation_id: now.id }, identity));
    expect(await revoke({ ...admin, tenant: 'elsewhere', roles: 'admin' })).toBe('NOT_FOUND');
    expect(await revoke(admin)).toBe('OK');
    expect(await accept(token)).toBe('LINK_INVALID');
  });
});

describe('a user', () => {
  test('is made with a password that the first login replaces, or with a mail to choose one', async () => {
    const made = await asAdmin<userV1.User>('CreateUser', {
      email: 'made@example.com',
      password: PASSWORD,
      roles: ['editor'],
    });
    expect(made).toMatchObject({ roles: ['editor'], password_expired: true, email_verified: false });
    const refused = await failure(login('made@example.com'));
    expect(refused.code).toBe('PASSWORD_CHANGE_REQUIRED');
    expect(await codeOf(asAdmin('CreateUser', { email: 'MADE@example.com' }))).toBe('ALREADY_EXISTS');
    expect(await codeOf(asAdmin('CreateUser', { email: 'x@example.com', tenant: 'nowhere' }))).toBe('NOT_FOUND');
    await asAdmin('CreateUser', { email: 'mailed@example.com' });
    const { token } = await mailbox.next('mailed@example.com');
    await account('ResetPassword', { token, password: PASSWORD });
    await expect(login('mailed@example.com')).resolves.toBeDefined();
  });

  test('has sessions that an administrator lists and ends without locking', async () => {
    const user = await signIn(system.first);
    const other = await login(user.email, user.password);
    const user_id = user.user.id;
    const list = () => asAdmin<accountV1.ListUserSessionsResponse>('ListUserSessions', { user_id });
    expect((await list()).sessions).toHaveLength(2);
    const end = (session_id = '') =>
      asAdmin<accountV1.EndUserSessionsResponse>('EndUserSessions', { user_id, session_id });
    expect(await end(other.session_id)).toEqual({ sessions_ended: 1 });
    expect((await failure(end(admin.session))).code).toBe('NOT_FOUND');
    expect((await list()).sessions.map(({ id }) => id)).toEqual([user.tokens.session_id]);
    expect(await end()).toEqual({ sessions_ended: 1 });
    expect((await list()).sessions).toEqual([]);
    await expect(login(user.email, user.password)).resolves.toBeDefined();
  });

  test('changes what he is called', async () => {
    const { identity } = await signIn(system.first);
    expect(await account('UpdateMe', { display_name: 'Grace Hopper' }, identity)).toMatchObject({
      display_name: 'Grace Hopper',
    });
    const long = account('UpdateMe', { display_name: 'x'.repeat(201) }, identity);
    expect((await failure(long)).details).toEqual({ field: 'display_name' });
  });

  test('exports everything that is kept about him, and nothing of others', async () => {
    const user = await signIn(system.first);
    await signIn(system.first);
    const records = await messagesOf<Exported>(system.first.watch('AccountService/ExportMe', {}, user.identity));
    expect(new Set(kindsOf(records))).toEqual(new Set(['account', 'session', 'audit_event', 'kept_elsewhere', 'end']));
    expect(records.at(-1)?.kind).toBe('end');
    const { fields } = records[0]!.data.structValue;
    expect(fields['email']?.stringValue).toBe(user.email);
    const whole = JSON.stringify(records);
    expect(whole).not.toContain('argon2');
    const others = await system.sql<{ id: string }>('select id from users where id <> $1', [user.user.id]);
    for (const { id } of others) expect(whole).not.toContain(id);
  });
});

describe('an account that is to be deleted', () => {
  const close = async () => {
    const user = await signIn(system.first);
    const wrong = account('DeleteMe', { password: 'not it at all' }, user.identity);
    expect((await failure(wrong)).details).toEqual({ field: 'password' });
    const answer = await account<accountV1.DeleteMeResponse>('DeleteMe', { password: user.password }, user.identity);
    return { ...user, answer };
  };

  test('ends its sessions and can be kept by a login or the mailed link', async () => {
    const { email, password, tokens, user } = await close();
    const refresh = system.first.call('UserService/Refresh', { refresh_token: tokens.refresh_token });
    expect(await codeOf(refresh)).toBe('INVALID_GRANT');
    const refused = await failure(login(email, password));
    expect(refused.code).toBe('ACCOUNT_CLOSING');
    await account('RestoreAccount', { token: refused.details['token'] });
    const again = identityOf((await login(email, password)).access_token);
    await mailbox.next(email);
    await account('DeleteMe', { password }, again);
    await account('RestoreAccount', { token: (await mailbox.next(email)).token });
    await expect(login(email, password)).resolves.toBeDefined();
    expect(await asAdmin('DeleteUser', { user_id: user.id })).toMatchObject({ delete_time: expect.anything() });
    expect(await asAdmin('RestoreUser', { user_id: user.id })).toMatchObject({ delete_time: null });
  });

  test('is gone when its grace is over; the audit log stays without where it was from', async () => {
    const { email, password, user } = await close();
    await system.first
      .call('UserService/Login', { email, password }, { 'client-ip': '203.0.113.77' })
      .catch(() => undefined);
    await mailbox.next(email);
    await system.sql(`update users set delete_at = now() - interval '1 s' where id = $1`, [user.id]);
    // While an access token of it may be good, gateways must hear of the end of its session.
    await erase(dataSource);
    expect(await system.sql('select 1 from users where id = $1', [user.id])).toHaveLength(1);
    await system.sql(`update sessions set tokens_until = now() - interval '1 h' where user_id = $1`, [user.id]);
    await system.sql(`update sessions set revoked_at = now() - interval '1 h' where user_id = $1`, [user.id]);
    await prune(dataSource, 90);
    const rounds = await Promise.all([erase(dataSource), erase(dataSource), erase(dataSource)]);
    expect(rounds.reduce((sum, deleted) => sum + deleted.get('users')!, 0)).toBeGreaterThanOrEqual(1);
    expect(await system.sql('select 1 from users where id = $1', [user.id])).toEqual([]);
    const events = await system.sql<{ action: string; address: string }>(
      'select action, address from audit_events where subject = $1 order by id',
      [user.id],
    );
    expect(events.map(({ action }) => action)).toEqual(
      expect.arrayContaining(['login', 'account.delete', 'account.erase']),
    );
    expect(new Set(events.map(({ address }) => address))).toEqual(new Set(['']));
    const tables = [
      'users',
      'sessions',
      'account_links',
      'mail_outbox',
      'registrations',
      'throttles',
      'known_networks',
    ];
    for (const table of tables) {
      const dump = JSON.stringify(await system.sql(`select * from ${table}`));
      for (const trace of [email, user.id, '203.0.113.77'])
        expect([table, dump.includes(trace)]).toEqual([table, false]);
    }
    expect(await codeOf(login(email, password))).toBe('INVALID_CREDENTIALS');
    await expect(system.first.call('UserService/Register', { email, password: PASSWORD })).resolves.toBeDefined();
  });

  test('of those that are, no audit event loses anything', async () => {
    const { user } = await signIn(system.first);
    await expect(system.sql(`update audit_events set address = '' where subject = $1`, [user.id])).rejects.toThrow(
      'never changed',
    );
  });
});

describe('a tenant', () => {
  test('gets another name, is opened and closed', async () => {
    await makeTenant('moody');
    const join = (email: string) =>
      codeOf(system.first.call('UserService/Register', { email, password: PASSWORD, tenant: 'moody' }));
    expect(await join('a@moody.example')).toBe('INVALID_ARGUMENT');
    const update = (change: object) => asAdmin<userV1.Tenant>('UpdateTenant', { tenant_id: 'moody', ...change });
    expect(await update({ open_registration: true })).toMatchObject({ name: 'moody & Sons', open_registration: true });
    expect(await join('a@moody.example')).toBe('OK');
    expect(await update({ name: 'Merry', open_registration: false })).toMatchObject({
      name: 'Merry',
      open_registration: false,
    });
    expect(await join('b@moody.example')).toBe('INVALID_ARGUMENT');
    expect((await failure(update({}))).code).toBe('INVALID_ARGUMENT');
    expect(await codeOf(asAdmin('UpdateTenant', { tenant_id: 'moody', name: 'x' }, { ...admin, roles: 'admin' }))).toBe(
      'PERMISSION_DENIED',
    );
  });

  test('is deleted after its data were exported, and its sessions end at once', async () => {
    await makeTenant('leaving', true);
    const member = { email: 'm@leaving.example', password: PASSWORD, tenant: 'leaving' };
    await system.first.call('UserService/Register', member);
    const tokens = await login(member.email, PASSWORD, 'leaving');
    const remove = () => asAdmin('DeleteTenant', { tenant_id: 'leaving' });
    expect((await failure(remove())).code).toBe('FAILED_PRECONDITION');
    expect((await failure(asAdmin('DeleteTenant', { tenant_id: 'default' }))).code).toBe('INVALID_ARGUMENT');
    const stream = system.first.watch('AccountAdminService/ExportTenant', { tenant_id: 'leaving' }, admin);
    const records = await messagesOf<Exported>(stream);
    expect(new Set(kindsOf(records))).toEqual(new Set(['tenant', 'account', 'session', 'audit_event', 'end']));
    expect(JSON.stringify(records)).toContain(member.email);
    expect(JSON.stringify(records)).not.toContain('argon2');
    await remove();
    const refresh = system.first.call('UserService/Refresh', { refresh_token: tokens.refresh_token });
    expect(await codeOf(refresh)).toBe('INVALID_GRANT');
    expect(await codeOf(login(member.email, PASSWORD, 'leaving'))).toBe('PERMISSION_DENIED');
    expect(await codeOf(system.first.call('UserService/Register', { ...member, email: 'n@leaving.example' }))).toBe(
      'INVALID_ARGUMENT',
    );
    await system.sql(
      `update sessions set tokens_until = now() - interval '1 h', revoked_at = now() - interval '1 h' where tenant = 'leaving'`,
    );
    await prune(dataSource, 90);
    await erase(dataSource);
    expect(await system.sql(`select 1 from tenants where id = 'leaving'`)).toEqual([]);
  });
});
