import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { machinesV1, userV1 } from '@sluice/contract';
import { apiKeyDigest, environmentOfApiKey, newApiKey } from '@sluice/identity';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { failure, type Identity, identityOf, signIn, UserSystem } from '../replicas.fixture.js';

type Shown = machinesV1.CreateApiKeyResponse;
let system: UserSystem;
let admin: Identity;

beforeAll(async () => {
  system = await UserSystem.start(2, { API_KEYS_PER_OWNER: '5' });
  const password = readFileSync(system.environment['ADMIN_PASSWORD_FILE'] as string, 'utf8').trim();
  const login = { email: 'admin@sluice.local', password };
  admin = identityOf((await system.first.call<userV1.TokenResponse>('UserService/Login', login)).access_token);
});
afterAll(() => system?.stop());

const keys = <T = Shown>(method: string, request: object, identity: Identity) =>
  system.first.call<T>(`ApiKeyService/${method}`, request, identity);
const create = (identity: Identity, over: object = {}) => keys('CreateApiKey', { name: 'ci', ...over }, identity);
const gateway = { subject: 'gateway', tenant: '', roles: 'gateway' };
const verify = (secret: string, replica = 0) =>
  system
    .replica(replica)
    .call<machinesV1.VerifyApiKeyResponse>(
      'ApiKeyVerificationService/VerifyApiKey',
      { digest: apiKeyDigest(secret) },
      gateway,
    );
const stateOf = async (secret: string) => (await verify(secret, 1)).state;
const newAccount = (grants: object) =>
  system.first.call<machinesV1.ServiceAccount>(
    'ServiceAccountService/CreateServiceAccount',
    { name: randomUUID(), ...grants },
    admin,
  );
const setRoles = (user_id: string, roles: string[]) =>
  system.first.call('AdminService/SetRoles', { user_id, roles }, admin);

describe('a key', () => {
  test('is shown once, kept as a hash, and found by it with what it is good for', async () => {
    const { identity } = await signIn(system.first);
    const restrictions = { methods: ['echo.v1.*'], models: ['small'], networks: ['192.0.2.0/24'] };
    const { key, secret } = await create(identity, {
      scopes: ['read', 'write'],
      restrictions,
      expires_in_seconds: 3600,
    });
    expect(environmentOfApiKey(secret)).toBe('live');
    expect(key).toMatchObject({
      name: 'ci',
      owner_id: identity.subject,
      owner_kind: 'user',
      environment: 'live',
      restrictions,
    });
    expect(key!.texts).toMatchObject([{ prefix: secret.slice(0, 13), last_four: secret.slice(-4) }]);
    const rows = await system.sql(
      `select to_jsonb(k)::text, to_jsonb(t)::text from api_keys k join api_key_texts t on t.key_id = k.id`,
    );
    expect(JSON.stringify(rows)).not.toContain(secret.slice(13, -4));
    const verified = await verify(secret, 1);
    expect(verified).toMatchObject({
      ...{ state: 'STATE_GOOD', key_id: key!.id, subject: identity.subject, tenant: 'default', roles: [] },
      ...{ scope: 'read write', restrictions },
    });
    expect(Number(verified.expire_time_ms)).toBeGreaterThan(Date.now());
    const got = await keys<machinesV1.ApiKey>('GetApiKey', { key_id: key!.id }, identity);
    expect(got.last_used_time).not.toBeNull();
    expect(JSON.stringify(got)).not.toContain(secret);
  });

  test('that nobody made is unknown, and only the gateway may ask', async () => {
    expect(await stateOf(newApiKey('live'))).toBe('STATE_UNSPECIFIED');
    const digest = apiKeyDigest(newApiKey('live'));
    for (const identity of [admin, {}]) {
      const asked = system.first.call('ApiKeyVerificationService/VerifyApiKey', { digest }, identity);
      expect(['PERMISSION_DENIED', 'UNAUTHENTICATED']).toContain((await failure(asked)).code);
    }
    const short = system.first.call('ApiKeyVerificationService/VerifyApiKey', { digest: Buffer.alloc(5) }, gateway);
    expect((await failure(short)).code).toBe('INVALID_ARGUMENT');
  });

  test('is renamed, and stays the same', async () => {
    const { identity } = await signIn(system.first);
    const { key, secret } = await create(identity);
    const renamed = await keys<machinesV1.ApiKey>('RenameApiKey', { key_id: key!.id, name: 'cd' }, identity);
    expect(renamed.name).toBe('cd');
    expect(await stateOf(secret)).toBe('STATE_GOOD');
  });

  test('rotates with an overlap, without one, and not once it is revoked', async () => {
    const { identity } = await signIn(system.first);
    const { key, secret: first } = await create(identity, { environment: 'test' });
    const rotate = (over: object) => keys('RotateApiKey', { key_id: key!.id, ...over }, identity);
    const { secret: second, key: rotated } = await rotate({});
    expect(environmentOfApiKey(second)).toBe('test');
    expect(rotated!.id).toBe(key!.id);
    expect(rotated!.texts).toHaveLength(2);
    expect(Number((await verify(first)).expire_time_ms)).toBeGreaterThan(Date.now() + 86_000_000);
    expect((await verify(second)).expire_time_ms).toBe('0');
    const { secret: third } = await rotate({ overlap_seconds: 0 });
    expect([await stateOf(first), await stateOf(second), await stateOf(third)]).toEqual([
      'STATE_EXPIRED',
      'STATE_EXPIRED',
      'STATE_GOOD',
    ]);
    expect((await failure(rotate({ overlap_seconds: 604_801 }))).details).toEqual({ field: 'overlap_seconds' });
    await keys('RevokeApiKey', { key_id: key!.id }, identity);
    expect(await keys('RevokeApiKey', { key_id: key!.id }, identity)).toMatchObject({ id: key!.id });
    expect(await stateOf(third)).toBe('STATE_REVOKED');
    expect((await failure(rotate({}))).code).toBe('FAILED_PRECONDITION');
  });

  test('has nothing that its owner has not, and loses what the owner loses', async () => {
    const { identity, user } = await signIn(system.first);
    expect((await failure(create(identity, { roles: ['admin'] }))).details).toEqual({ field: 'roles' });
    await setRoles(user.id, ['admin', 'service']);
    const { secret } = await create(identity, { roles: ['service', 'admin'] });
    expect((await verify(secret)).roles).toEqual(['admin', 'service']);
    await setRoles(user.id, ['service']);
    expect((await verify(secret)).roles).toEqual(['service']);
    const bounded = { ...identity, scope: 'read' };
    expect((await failure(create(bounded, { scopes: ['write'] }))).details).toEqual({ field: 'scopes' });
    expect((await failure(create(bounded))).details).toEqual({ field: 'scopes' });
    await expect(create(bounded, { scopes: ['read'] })).resolves.toBeDefined();
    const account = await newAccount({ roles: ['service'], scopes: ['read'] });
    const ofAccount = (over: object) => create(admin, { owner_id: account.id, ...over });
    expect((await failure(ofAccount({ scopes: ['write'] }))).details).toEqual({ field: 'scopes' });
    expect((await failure(ofAccount({ roles: ['admin'] }))).details).toEqual({ field: 'roles' });
    const { secret: read } = await ofAccount({ roles: ['service'], scopes: ['read'] });
    expect(await verify(read)).toMatchObject({ subject: account.id, roles: ['service'], scope: 'read' });
    await system.first.call('ServiceAccountService/SetGrants', { account_id: account.id, scopes: [] }, admin);
    expect(await verify(read)).toMatchObject({ roles: [], scope: '' });
  });

  test('cannot make or change keys, is not a guest’s, and is one of few', async () => {
    const { identity } = await signIn(system.first);
    const { key } = await create(identity);
    const byKey = { ...identity, key: key!.id };
    expect((await failure(create(byKey))).code).toBe('PERMISSION_DENIED');
    expect((await failure(keys('RotateApiKey', { key_id: key!.id }, byKey))).code).toBe('PERMISSION_DENIED');
    await expect(keys('RevokeApiKey', { key_id: key!.id }, byKey)).resolves.toBeDefined();
    const guest = await system.first.call<userV1.TokenResponse>('UserService/CreateGuest', { device_id: randomUUID() });
    expect((await failure(create(identityOf(guest.access_token)))).code).toBe('PERMISSION_DENIED');
    const made = await Promise.allSettled(Array.from({ length: 8 }, () => create(identity)));
    expect(made.filter(({ status }) => status === 'fulfilled')).toHaveLength(5);
  });

  test.each([
    [{ name: ' ' }, 'name'],
    [{ environment: 'prod' }, 'environment'],
    [{ expires_in_seconds: 1 }, 'expires_in_seconds'],
    [{ expires_in_seconds: -1 }, 'expires_in_seconds'],
    [{ restrictions: { methods: ['GET /x'] } }, 'restrictions.methods[0]'],
    [{ restrictions: { models: ['a,b'] } }, 'restrictions.models[0]'],
    [{ restrictions: { networks: ['10.0.0.0/8', '10.0.0.0/33'] } }, 'restrictions.networks[1]'],
    [{ restrictions: { networks: ['fe80::1%eth0'] } }, 'restrictions.networks[0]'],
    [{ scopes: ['a"b'] }, 'scopes[0]'],
  ])('is not made of %j', async (over, field) => {
    expect(await failure(create(admin, over))).toMatchObject({ code: 'INVALID_ARGUMENT', details: { field } });
  });
});

describe('keys of others', () => {
  test('are an administrator’s to list and to revoke, in one tenant', async () => {
    const [ann, bob] = [await signIn(system.first), await signIn(system.first)];
    const { key, secret } = await create(ann.identity);
    const key_id = key!.id;
    const list = (identity: Identity, request: object = {}) =>
      keys<machinesV1.ListApiKeysResponse>('ListApiKeys', request, identity);
    expect((await list(ann.identity)).keys).toMatchObject([{ id: key_id }]);
    expect((await list(bob.identity)).keys).toEqual([]);
    const asked = { owner_id: ann.user.id };
    expect((await failure(list(bob.identity, asked))).code).toBe('PERMISSION_DENIED');
    expect((await list(admin, asked)).keys).toMatchObject([{ id: key_id }]);
    const seen: string[] = [];
    let page_token = '';
    do {
      const page = await list(admin, { owner_id: '-', page_size: 3, page_token });
      seen.push(...page.keys.map(({ id }) => id));
      page_token = page.next_page_token;
    } while (page_token !== '');
    expect(seen).toContain(key_id);
    expect(new Set(seen).size).toBe(seen.length);
    for (const identity of [bob.identity, { ...admin, tenant: 'acme' }]) {
      expect((await failure(keys('RevokeApiKey', { key_id }, identity))).code).toBe('NOT_FOUND');
    }
    expect((await failure(keys('RotateApiKey', { key_id }, admin))).code).toBe('PERMISSION_DENIED');
    expect((await failure(create(admin, { owner_id: ann.user.id }))).code).toBe('PERMISSION_DENIED');
    await keys('RevokeApiKey', { key_id }, admin);
    expect(await stateOf(secret)).toBe('STATE_REVOKED');
  });
});

test('whatever ends a key or its owner is told to the gateways, by whichever replica', async () => {
  const told: { session_id: string; changed: boolean }[] = [];
  const watch = system.replica(1).watch('RevocationService/WatchRevocations', {}, gateway);
  watch.on('data', (batch: userV1.RevocationBatch) => told.push(...batch.revocations));
  watch.on('error', () => undefined);
  const { identity, user } = await signIn(system.first);
  const account = await newAccount({ roles: ['service'] });
  const { key: own } = await create(identity);
  const { key: ofAccount } = await create(admin, { owner_id: account.id });
  const timesTold = (id: string, changed: boolean) =>
    told.filter((one) => one.session_id === `key:${id}` && one.changed === changed).length;
  const steps: [string, boolean, () => Promise<unknown>][] = [
    [own!.id, true, () => keys('RotateApiKey', { key_id: own!.id }, identity)],
    [own!.id, false, () => keys('RotateApiKey', { key_id: own!.id, overlap_seconds: 0 }, identity)],
    [own!.id, false, () => setRoles(user.id, ['service'])],
    [own!.id, false, () => system.first.call('AdminService/LockUser', { user_id: user.id }, admin)],
    [
      ofAccount!.id,
      false,
      () => system.first.call('ServiceAccountService/SetGrants', { account_id: account.id }, admin),
    ],
    [
      ofAccount!.id,
      false,
      () => system.first.call('ServiceAccountService/DeleteServiceAccount', { account_id: account.id }, admin),
    ],
    [own!.id, false, () => system.sql('delete from users where id = $1', [user.id])],
  ];
  for (const [id, changed, step] of steps) {
    const before = timesTold(id, changed);
    await step();
    await vi.waitFor(() => expect(timesTold(id, changed)).toBeGreaterThan(before), { timeout: 5000 });
  }
  watch.cancel();
  // Who comes back after a while hears of all that still matters.
  const later: string[] = [];
  const again = system.first.watch('RevocationService/WatchRevocations', {}, gateway);
  again.on('data', (batch: userV1.RevocationBatch) => later.push(...batch.revocations.map((one) => one.session_id)));
  again.on('error', () => undefined);
  await vi.waitFor(() => expect(later).toEqual(expect.arrayContaining([`key:${own!.id}`, `key:${ofAccount!.id}`])));
  again.cancel();
});

test('a locked owner’s key says so until the owner is unlocked', async () => {
  const { identity, user } = await signIn(system.first);
  const { secret } = await create(identity);
  await system.first.call('AdminService/LockUser', { user_id: user.id }, admin);
  expect(await stateOf(secret)).toBe('STATE_OWNER_LOCKED');
  expect((await failure(create(identity))).code).toBe('FAILED_PRECONDITION');
  await system.first.call('AdminService/UnlockUser', { user_id: user.id }, admin);
  expect(await stateOf(secret)).toBe('STATE_GOOD');
});

test('a tenant that is closed takes the keys and tokens of its machines with it', async () => {
  await system.first.call('AdminService/CreateTenant', { id: 'closing' }, admin);
  const there = { ...admin, subject: randomUUID(), tenant: 'closing' };
  const { id } = await system.first.call<machinesV1.ServiceAccount>(
    'ServiceAccountService/CreateServiceAccount',
    { name: 'ci' },
    there,
  );
  const added = await system.first.call<machinesV1.AddSecretResponse>(
    'ServiceAccountService/AddSecret',
    { account_id: id },
    there,
  );
  const client = { grant_type: 'client_credentials', client_id: id, client_secret: added.client_secret };
  const { access_token } = await system.first.call<userV1.TokenResponse>('OAuthService/Token', client);
  const { secret } = await create(there, { owner_id: id });
  expect(await stateOf(secret)).toBe('STATE_GOOD');
  await system.sql(`update tenants set delete_at = clock_timestamp() where id = 'closing'`);
  expect(await stateOf(secret)).toBe('STATE_TENANT_CLOSED');
  const introspected = await system.first.call('OAuthService/Introspect', { token: access_token }, gateway);
  expect(introspected).toMatchObject({ active: false });
  expect((await failure(system.first.call('OAuthService/Token', client))).details).toMatchObject({
    oauth_error: 'invalid_client',
  });
  await system.sql(`delete from tenants where id = 'closing'`);
  expect(await stateOf(secret)).toBe('STATE_UNSPECIFIED');
});
