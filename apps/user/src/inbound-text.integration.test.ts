import { afterAll, beforeAll, expect, test } from 'vitest';
import { failure, signIn, UserSystem } from './replicas.fixture.js';

let system: UserSystem;
beforeAll(async () => {
  system = await UserSystem.start(1);
});
afterAll(() => system?.stop());

const texts = {
  'UserService/Register': ['email', 'display_name', 'tenant'],
  'UserService/Login': ['email', 'device', 'tenant'],
  'UserService/Refresh': ['refresh_token'],
  'UserService/RevokeSession': ['session_id'],
  'UserService/CreateGuest': ['device_id', 'cause', 'tenant'],
  'UserService/UpgradeGuest': ['email', 'display_name', 'device'],
  'OAuthService/Token': [
    'grant_type',
    'username',
    'refresh_token',
    'device_id',
    'cause',
    'tenant',
    'device',
    'client_id',
    'scope',
  ],
  'OAuthService/Revoke': ['token', 'token_type_hint', 'client_id'],
  'OAuthService/Introspect': ['token', 'token_type_hint'],
  'AdminService/ListUsers': ['page_token', 'email_prefix'],
  'AdminService/GetUser': ['user_id'],
  'AdminService/LockUser': ['user_id'],
  'AdminService/UnlockUser': ['user_id'],
  'AdminService/SetRoles': ['user_id', 'tenant'],
  'AdminService/ListAuditEvents': ['page_token', 'user_id'],
  'AdminService/CreateTenant': ['id', 'name'],
  'RevocationService/WatchRevocations': ['cursor'],
};
const cases = Object.entries(texts).flatMap(([method, fields]) => fields.map((field) => [method, field] as const));

test.each(cases)('%s: NUL in %s is the fault of who sends it, and is named', async (method, field) => {
  const { identity } = await signIn(system.first);
  const roles = 'admin,operator,service,gateway';
  if (method.startsWith('Revocation')) {
    const stream = system.first.watch(method, { [field]: 'x\0y' }, { ...identity, roles });
    expect(await new Promise((resolve) => stream.on('error', resolve))).toMatchObject({ code: 3 });
    return;
  }
  const refused = await failure(system.first.call(method, { [field]: 'x\0y' }, { ...identity, roles }));
  expect(refused).toMatchObject({ code: 'INVALID_ARGUMENT', details: { field } });
  expect(refused.message).toContain('U+0000');
});

test('none of them keeps a failure from being recorded', async () => {
  const metrics = await (await fetch(`http://127.0.0.1:${system.first.adminPort}/metrics`)).text();
  expect(metrics).toContain('sluice_late_records_lost_total');
  expect(metrics).not.toMatch(/sluice_late_records_lost_total\{[^}]*\} [1-9]/);
});
