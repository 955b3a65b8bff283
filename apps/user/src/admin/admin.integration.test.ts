import { existsSync, readFileSync, statSync } from 'node:fs';
import type { userV1 } from '@sluice/contract';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { failure, type Identity, identityOf, signIn, startReplicaOn, UserSystem } from '../replicas.fixture.js';

let system: UserSystem;
let admin: Identity;

beforeAll(async () => {
  system = await UserSystem.start(1);
  const password = readFileSync(system.environment['ADMIN_PASSWORD_FILE'] as string, 'utf8').trim();
  const login = { email: 'admin@sluice.local', password };
  admin = identityOf((await system.first.call<userV1.TokenResponse>('UserService/Login', login)).access_token);
});
afterAll(() => system?.stop());

const call = <T>(method: string, request: object, identity = admin) =>
  system.first.call<T>(`AdminService/${method}`, request, identity);

describe('the first start', () => {
  test('creates an administrator whose password stands only in a file of mode 600', async () => {
    const file = system.environment['ADMIN_PASSWORD_FILE'] as string;
    expect(existsSync(file)).toBe(true);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(admin.roles).toBe('admin,operator');
  });

  test('is the only one that does', async () => {
    const again = await startReplicaOn(system.environment);
    await again.stop();
    const admins = await system.sql(`select 1 from users where 'admin' = any(roles)`);
    expect(admins).toHaveLength(1);
  });
});

describe('users', () => {
  test('are listed in pages, found by their address, and seen alone', async () => {
    const users = [await signIn(system.first), await signIn(system.first), await signIn(system.first)];
    const seen: string[] = [];
    let page_token = '';
    do {
      const page = await call<userV1.ListUsersResponse>('ListUsers', { page_size: 2, page_token });
      seen.push(...page.users.map(({ id }) => id));
      page_token = page.next_page_token;
    } while (page_token !== '');
    expect(seen).toEqual(expect.arrayContaining(users.map(({ user }) => user.id)));
    expect(new Set(seen).size).toBe(seen.length);
    const found = await call<userV1.ListUsersResponse>('ListUsers', { email_prefix: users[0]!.email.toUpperCase() });
    expect(found.users.map(({ id }) => id)).toContain(users[0]!.user.id);
    const user_id = users[1]!.user.id;
    expect(await call<userV1.User>('GetUser', { user_id })).toMatchObject({ id: user_id, locked: false });
  });

  test('that are locked lose their sessions and cannot log in until they are unlocked', async () => {
    const { email, password, user, tokens } = await signIn(system.first);
    expect(await call('LockUser', { user_id: user.id })).toMatchObject({ locked: true });
    const refresh = system.first.call('UserService/Refresh', { refresh_token: tokens.refresh_token });
    expect((await failure(refresh)).code).toBe('INVALID_GRANT');
    const login = () => system.first.call('UserService/Login', { email, password });
    expect((await failure(login())).code).toBe('PERMISSION_DENIED');
    expect(await call('UnlockUser', { user_id: user.id })).toMatchObject({ locked: false });
    await expect(login()).resolves.toBeDefined();
    const own = call('LockUser', { user_id: admin.subject });
    expect((await failure(own)).code).toBe('INVALID_ARGUMENT');
  });

  test('get roles, which their next token names; the gateway’s role is nobody’s', async () => {
    const { email, password, user, tokens } = await signIn(system.first);
    await call('SetRoles', { user_id: user.id, roles: ['service', 'admin'] });
    const refresh = system.first.call('UserService/Refresh', { refresh_token: tokens.refresh_token });
    expect((await failure(refresh)).code).toBe('INVALID_GRANT');
    const again = await system.first.call<userV1.TokenResponse>('UserService/Login', { email, password });
    const identity = identityOf(again.access_token);
    expect(identity.roles).toBe('admin,service');
    for (const roles of [['gateway'], ['a,b'], ['']]) {
      expect((await failure(call('SetRoles', { user_id: user.id, roles }))).details).toEqual({ field: 'roles' });
    }
    const grab = call('SetRoles', { user_id: user.id, roles: ['operator'] }, identity);
    expect((await failure(grab)).code).toBe('PERMISSION_DENIED');
    const strip = call('SetRoles', { user_id: admin.subject, roles: [] }, identity);
    expect((await failure(strip)).code).toBe('PERMISSION_DENIED');
  });

  test('who are operators are changed by operators alone', async () => {
    const { user } = await signIn(system.first);
    const plain = { ...(await signIn(system.first)).identity, roles: 'admin' };
    await call('SetRoles', { user_id: user.id, roles: ['admin', 'operator'] });
    const attempts: readonly (readonly [string, object])[] = [
      ['LockUser', {}],
      ['UnlockUser', {}],
      ['SetRoles', { roles: ['operator'] }],
      ['SetRoles', { roles: [] }],
      ['SetRoles', { roles: ['admin', 'operator', 'more'] }],
    ];
    for (const [method, change] of attempts) {
      const refused = await failure(call(method, { user_id: user.id, ...change }, plain));
      expect(refused.code).toBe('PERMISSION_DENIED');
    }
    const after = await call<userV1.User>('GetUser', { user_id: user.id });
    expect(after).toMatchObject({ roles: ['admin', 'operator'], locked: false });
    expect(await call('LockUser', { user_id: user.id })).toMatchObject({ locked: true });
    // Refusals are recorded after their answers.
    const refusals = async () => {
      const { events } = await call<userV1.ListAuditEventsResponse>('ListAuditEvents', {});
      const own = events.filter(({ outcome, actor }) => outcome === 'permission_denied' && actor === plain.subject);
      return own.map(({ action }) => action);
    };
    await expect.poll(refusals, { timeout: 10_000 }).toEqual(attempts.map(() => 'admin.refused'));
  });

  test('of another tenant do not exist', async () => {
    const { user } = await signIn(system.first);
    await call('CreateTenant', { id: 'acme', name: 'Acme', open_registration: true });
    const elsewhere = { ...admin, tenant: 'acme' };
    for (const method of ['GetUser', 'LockUser', 'UnlockUser', 'SetRoles']) {
      expect((await failure(call(method, { user_id: user.id }, elsewhere))).code).toBe('NOT_FOUND');
    }
    expect((await call<userV1.ListUsersResponse>('ListUsers', {}, elsewhere)).users).toEqual([]);
    expect((await failure(call('GetUser', { user_id: 'x' }))).code).toBe('NOT_FOUND');
  });

  test('an operator appoints the first administrator of a new tenant, who is none elsewhere', async () => {
    await call('CreateTenant', { id: 'newco', name: 'New', open_registration: true });
    const account = { email: 'first@newco.example', password: 'correct horse battery', tenant: 'newco' };
    const { user } = await system.first.call<{ user: userV1.User }>('UserService/Register', account);
    const appoint = { user_id: user.id, roles: ['admin'], tenant: 'newco' };
    expect((await failure(call('SetRoles', appoint, { ...admin, roles: 'admin' }))).code).toBe('PERMISSION_DENIED');
    expect((await failure(call('SetRoles', { ...appoint, tenant: '' }))).code).toBe('NOT_FOUND');
    expect(await call('SetRoles', appoint)).toMatchObject({ tenant: 'newco', roles: ['admin'] });
    const tokens = await system.first.call<userV1.TokenResponse>('UserService/Login', account);
    const appointed = identityOf(tokens.access_token);
    const { users } = await call<userV1.ListUsersResponse>('ListUsers', {}, appointed);
    expect(users.map(({ id }) => id)).toEqual([user.id]);
    const audit = await call<userV1.ListAuditEventsResponse>('ListAuditEvents', {}, appointed);
    expect(audit.events).toContainEqual(
      expect.objectContaining({ action: 'account.roles', actor: admin.subject, subject: user.id }),
    );
    const back = { user_id: admin.subject, roles: [], tenant: 'default' };
    expect((await failure(call('SetRoles', back, appointed))).code).toBe('PERMISSION_DENIED');
  });
});

describe('access', () => {
  test.each(['ListUsers', 'GetUser', 'LockUser', 'SetRoles', 'ListAuditEvents', 'ListTenants', 'CreateTenant'])(
    '%s is closed to users and strangers',
    async (method) => {
      const { identity } = await signIn(system.first);
      expect((await failure(call(method, {}, identity))).code).toBe('PERMISSION_DENIED');
      expect((await failure(call(method, {}, {}))).code).toBe('UNAUTHENTICATED');
    },
  );

  test('who is refused is in the audit log of his tenant', async () => {
    const { identity, user } = await signIn(system.first);
    await failure(call('ListUsers', {}, identity));
    const event = await vi.waitFor(async () => {
      const { events } = await call<userV1.ListAuditEventsResponse>('ListAuditEvents', {});
      const found = events.find(({ action, actor }) => action === 'admin.refused' && actor === user.id);
      expect(found).toBeDefined();
      return found;
    });
    expect(event).toMatchObject({ outcome: 'permission_denied' });
  });

  test('tenants are for operators', async () => {
    expect((await failure(call('ListTenants', {}, { ...admin, roles: 'admin' }))).code).toBe('PERMISSION_DENIED');
    const { tenants } = await call<userV1.ListTenantsResponse>('ListTenants', {});
    expect(tenants.map(({ id }) => id)).toContain('default');
    expect((await failure(call('CreateTenant', { id: 'default' }))).code).toBe('ALREADY_EXISTS');
    expect((await failure(call('CreateTenant', { id: '../etc' }))).details).toEqual({ field: 'id' });
  });
});

describe('audit', () => {
  test('says who did what to whom from where, with which outcome and in which trace, and no secret', async () => {
    const { email, password, user } = await signIn(system.first);
    const from = { 'client-ip': '203.0.113.9' };
    await failure(system.first.call('UserService/Login', { email, password: 'wrong password' }, from));
    await system.first.call('UserService/Login', { email, password }, from);
    await call('LockUser', { user_id: user.id });
    const { events } = await call<userV1.ListAuditEventsResponse>('ListAuditEvents', { user_id: user.id });
    expect(events.map(({ action, outcome, actor, address }) => [action, outcome, actor, address])).toEqual([
      ['account.lock', 'success', admin.subject, ''],
      ['login', 'success', '', '203.0.113.9'],
      ['login', 'wrong', '', '203.0.113.9'],
      ['login', 'success', '', ''],
      ['account.register', 'success', '', ''],
    ]);
    expect(events.every(({ trace_id }) => /^[0-9a-f]{32}$/.test(trace_id))).toBe(true);
    const whole = JSON.stringify(await system.sql('select * from audit_events'));
    expect(whole).not.toContain(password);
    expect(whole).not.toContain('wrong password');
  });

  test('is never changed, and of the last day never deleted', async () => {
    await expect(system.sql(`update audit_events set outcome = 'success'`)).rejects.toThrow('never changed');
    await expect(system.sql('truncate audit_events')).rejects.toThrow('never changed');
    await expect(system.sql('delete from audit_events')).rejects.toThrow('never deleted');
  });
});
