import { createHash, generateKeyPairSync, type JsonWebKey, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { machinesV1, userV1 } from '@sluice/contract';
import { SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { claimsOf, failure, type Identity, identityOf, signIn, UserSystem } from '../replicas.fixture.js';

const ISSUER = 'http://localhost:8083';
const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
let system: UserSystem;
let admin: Identity;

beforeAll(async () => {
  system = await UserSystem.start(2);
  const password = readFileSync(system.environment['ADMIN_PASSWORD_FILE'] as string, 'utf8').trim();
  const login = { email: 'admin@sluice.local', password };
  admin = identityOf((await system.first.call<userV1.TokenResponse>('UserService/Login', login)).access_token);
});
afterAll(() => system?.stop());

type Account = machinesV1.ServiceAccount;
const manage = <T = Account>(method: string, request: object, identity: Identity = admin) =>
  system.first.call<T>(`ServiceAccountService/${method}`, request, identity);
const token = (request: object, identity: Identity = {}, replica = 0) =>
  system
    .replica(replica)
    .call<userV1.TokenResponse>('OAuthService/Token', { grant_type: 'client_credentials', ...request }, identity);
const newAccount = (grants: object = {}) => manage('CreateServiceAccount', { name: randomUUID(), ...grants });
async function withSecret(grants: object = {}) {
  const { id } = await newAccount(grants);
  const { client_secret } = await manage<machinesV1.AddSecretResponse>('AddSecret', { account_id: id });
  return { client_id: id, client_secret };
}
const basic = (id: string, secret: string) => ({
  authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`,
});
const introspect = (shown: string) =>
  system.first.call<userV1.IntrospectResponse>(
    'OAuthService/Introspect',
    { token: shown },
    {
      subject: 'asker',
      tenant: 'default',
      roles: 'service',
    },
  );

describe('the grant client_credentials', () => {
  test('gives a short-lived token with what was granted, and no refresh token', async () => {
    const client = await withSecret({
      roles: ['service'],
      scopes: ['read', 'write'],
      audiences: ['sluice', 'billing'],
    });
    const all = await token(client);
    expect(all).toMatchObject({ token_type: 'Bearer', scope: 'read write' });
    expect(all).not.toHaveProperty('refresh_token');
    expect(all.expires_in).toBeLessThanOrEqual(600);
    const claims = {
      sub: client.client_id,
      client_id: client.client_id,
      tid: 'default',
      roles: ['service'],
      aud: 'sluice',
    };
    expect(claimsOf(all.access_token)).toMatchObject({ ...claims, scope: 'read write' });
    const some = await token({ ...client, scope: 'write', audience: 'billing' });
    expect(claimsOf(some.access_token)).toMatchObject({ scope: 'write', aud: 'billing' });
    const { last_used_time } = await manage('GetServiceAccount', { account_id: client.client_id });
    expect(last_used_time).not.toBeNull();
  });

  test.each([
    [{ scope: 'admin' }, 'INVALID_ARGUMENT', 'invalid_scope'],
    [{ audience: 'elsewhere' }, 'INVALID_ARGUMENT', 'invalid_target'],
    [{ resource: 'billing', audience: 'sluice' }, 'INVALID_ARGUMENT', 'invalid_target'],
    [{ grant_type: 'guest', device_id: 'd' }, 'INVALID_ARGUMENT', 'unauthorized_client'],
    [{ grant_type: 'refresh_token', refresh_token: 'x' }, 'INVALID_ARGUMENT', 'unauthorized_client'],
    [{ client_secret: 'wrong' }, 'UNAUTHENTICATED', 'invalid_client'],
    [{ client_secret: '' }, 'UNAUTHENTICATED', 'invalid_client'],
    [{ client_id: randomUUID() }, 'UNAUTHENTICATED', 'invalid_client'],
    [{ client_id: '', client_secret: '' }, 'UNAUTHENTICATED', 'invalid_client'],
    [{ client_assertion_type: ASSERTION_TYPE }, 'INVALID_ARGUMENT', 'invalid_request'],
  ])('refuses %j', async (over, code, oauth_error) => {
    const client = await withSecret({ scopes: ['read'], audiences: ['sluice', 'billing'] });
    const identity = { 'client-ip': '203.0.113.9' };
    expect(await failure(token({ ...client, ...over }, identity))).toMatchObject({ code, details: { oauth_error } });
  });

  test('takes the secret by HTTP Basic, form-encoded, and not in two ways at once', async () => {
    const { client_id, client_secret } = await withSecret();
    await expect(token({}, basic(client_id, client_secret))).resolves.toMatchObject({ token_type: 'Bearer' });
    const encoded = [...client_secret].map((one) => `%${one.charCodeAt(0).toString(16)}`).join('');
    await expect(token({}, basic(client_id, encoded))).resolves.toMatchObject({ token_type: 'Bearer' });
    for (const wrong of [basic(client_id, '%zz'), { authorization: 'Basic ???' }, { authorization: 'Basic' }]) {
      expect((await failure(token({}, wrong))).details).toMatchObject({ oauth_error: 'invalid_client' });
    }
    const twice = token({ client_id, client_secret }, basic(client_id, client_secret));
    expect((await failure(twice)).details).toMatchObject({ oauth_error: 'invalid_request' });
    const another = token({ client_id: randomUUID() }, basic(client_id, client_secret));
    expect((await failure(another)).details).toMatchObject({ field: 'client_id', oauth_error: 'invalid_request' });
  });

  test('takes either of two secrets, of which no third can be had, and none that was removed', async () => {
    const { id: account_id } = await newAccount();
    const add = () => manage<machinesV1.AddSecretResponse>('AddSecret', { account_id });
    const [first, second] = [await add(), await add()];
    expect((await failure(add())).code).toBe('FAILED_PRECONDITION');
    for (const { client_secret } of [first, second]) {
      await expect(token({ client_id: account_id, client_secret })).resolves.toBeDefined();
    }
    const [old] = second.service_account!.secrets;
    expect(old!.last_four).toBe(first.client_secret.slice(-4));
    await manage('RemoveSecret', { account_id, secret_id: old!.id });
    const removed = token({ client_id: account_id, client_secret: first.client_secret });
    expect((await failure(removed)).code).toBe('UNAUTHENTICATED');
    await expect(token({ client_id: account_id, client_secret: second.client_secret })).resolves.toBeDefined();
    const kept = await system.sql<{ row: string }>(`select to_jsonb(s)::text as row from client_secrets s`);
    expect(JSON.stringify(kept)).not.toContain(second.client_secret.slice(4, 30));
  });

  test('after many wrong secrets refuses to look for a while, but not whoever has the right one', async () => {
    const client = await withSecret();
    const from = { 'client-ip': '203.0.113.77' };
    const codes = [];
    for (let guess = 0; guess < 12; guess++)
      codes.push((await failure(token({ ...client, client_secret: 'x' }, from))).code);
    expect(codes.slice(0, 5)).toEqual(Array(5).fill('UNAUTHENTICATED'));
    expect(codes.at(-1)).toBe('RATE_LIMIT_EXCEEDED');
    await expect(token(client, from)).resolves.toBeDefined();
  });

  test('gives tokens that end with a lock, other grants, deletion and revocation, at every replica', async () => {
    const client = await withSecret({ roles: ['service'] });
    const account_id = client.client_id;
    const heard: string[] = [];
    const gateway = { subject: 'gateway', tenant: '', roles: 'gateway' };
    const watch = system.replica(1).watch('RevocationService/WatchRevocations', {}, gateway);
    watch.on('data', (batch: userV1.RevocationBatch) => heard.push(...batch.revocations.map((one) => one.session_id)));
    watch.on('error', () => undefined);
    const endings: (() => Promise<unknown>)[] = [
      () => manage('SetGrants', { account_id, roles: ['service', 'other'] }),
      async () => {
        await manage('LockServiceAccount', { account_id });
        expect((await failure(token(client))).details).toMatchObject({ oauth_error: 'invalid_client' });
        await manage('UnlockServiceAccount', { account_id });
      },
      async () => {
        const { access_token } = await token(client);
        await system.first.call('OAuthService/Revoke', { token: access_token, ...client });
      },
      () => manage('DeleteServiceAccount', { account_id }),
    ];
    for (const end of endings) {
      const { access_token } = await token(client);
      expect(await introspect(access_token)).toMatchObject({ active: true, sub: account_id });
      await end();
      expect((await introspect(access_token)).active).toBe(false);
      await vi.waitFor(() => expect(heard).toContain(claimsOf(access_token).sid), { timeout: 5000 });
    }
    watch.cancel();
    expect((await failure(token(client))).code).toBe('UNAUTHENTICATED');
  });

  test('revokes no token of another client', async () => {
    const [client, other] = [await withSecret(), await withSecret()];
    const { access_token } = await token(other);
    const { tokens } = await signIn(system.first);
    for (const shown of [access_token, tokens.access_token, tokens.refresh_token!]) {
      const refused = system.first.call('OAuthService/Revoke', { token: shown, ...client });
      expect((await failure(refused)).details).toMatchObject({ oauth_error: 'unauthorized_client' });
    }
    expect((await introspect(access_token)).active).toBe(true);
  });
});

describe('private_key_jwt', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { x, y } = publicKey.export({ format: 'jwk' }) as JsonWebKey;
  let client: Account;
  beforeAll(async () => {
    client = await newAccount({ scopes: ['read'] });
    await manage('AddPublicKey', { account_id: client.id, kid: 'k1', alg: 'ES256', x, y });
  });
  const now = () => Math.floor(Date.now() / 1000);
  const claims = (over: object = {}) => ({
    ...{ iss: client.id, sub: client.id, aud: `${ISSUER}/oauth/token`, exp: now() + 60, iat: now(), jti: randomUUID() },
    ...over,
  });
  const sign = (said: object, header: object = {}, key: Parameters<SignJWT['sign']>[0] = privateKey) =>
    new SignJWT(said as Record<string, unknown>).setProtectedHeader({ alg: 'ES256', kid: 'k1', ...header }).sign(key);
  const show = (assertion: string, over: object = {}, replica = 0) =>
    token({ client_assertion_type: ASSERTION_TYPE, client_assertion: assertion, ...over }, {}, replica);

  test('gives a token for the issuer or the token endpoint as audience, alone or in a list', async () => {
    for (const aud of [ISSUER, `${ISSUER}/oauth/token`, ['elsewhere', ISSUER]]) {
      await expect(show(await sign(claims({ aud })))).resolves.toMatchObject({ scope: 'read' });
    }
    const withoutKid = await sign(claims(), { kid: undefined });
    await expect(show(withoutKid, { client_id: client.id })).resolves.toBeDefined();
  });

  test('takes an assertion once, at whichever replica', async () => {
    const assertion = await sign(claims());
    const answers = await Promise.allSettled([0, 1, 0, 1].map((replica) => show(assertion, {}, replica)));
    expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(await failure(show(assertion))).toMatchObject({
      code: 'UNAUTHENTICATED',
      message: expect.stringContaining('shown before'),
      details: { oauth_error: 'invalid_client' },
    });
  });

  test.each<[string, () => Promise<string>]>([
    ['another audience', () => sign(claims({ aud: 'elsewhere' }))],
    ['no expiry', () => sign(claims({ exp: undefined }))],
    ['an expiry in the past', () => sign(claims({ exp: now() - 60 }))],
    ['an expiry of a day', () => sign(claims({ exp: now() + 86_400 }))],
    ['a time to come', () => sign(claims({ nbf: now() + 300 }))],
    ['no jti', () => sign(claims({ jti: undefined }))],
    ['a jti that is no text', () => sign(claims({ jti: 5 }))],
    ['another subject', () => sign(claims({ sub: randomUUID() }))],
    ['an unknown kid', () => sign(claims(), { kid: 'k2' })],
    ['a key of somebody else', () => sign(claims(), {}, generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)],
    ['an extension', () => sign(claims(), { crit: ['b64'], b64: true })],
    [
      'a secret that is the public key',
      () =>
        sign(
          claims(),
          { alg: 'HS256' },
          createHash('sha256')
            .update(x as string)
            .digest(),
        ),
    ],
    [
      'no signature',
      async () => {
        const [, payload] = (await sign(claims())).split('.');
        return `${Buffer.from('{"alg":"none"}').toString('base64url')}.${payload}.AA`;
      },
    ],
    ['text that is no JWT', async () => 'a.b.c'],
  ])('refuses an assertion with %s', async (_, make) => {
    const refused = await failure(show(await make(), { client_id: '' }));
    // So that the next one is judged, and not held back.
    await system.sql('delete from throttles');
    expect(refused).toMatchObject({ code: 'UNAUTHENTICATED', details: { oauth_error: 'invalid_client' } });
  });

  test('keys are two at most, of the algorithms that are taken, strong enough, and can be removed', async () => {
    const { id: account_id } = await newAccount();
    const add = (key: object) => manage('AddPublicKey', { account_id, kid: 'a', ...key });
    const rsa = (bits: number) =>
      generateKeyPairSync('rsa', { modulusLength: bits }).publicKey.export({ format: 'jwk' });
    for (const key of [
      { alg: 'HS256', x, y },
      { alg: 'ES256', x },
      { alg: 'ES256', x, y: x },
      { alg: 'RS256', ...(rsa(1024) as object) },
      { alg: 'ES256', x, y, kid: 'a b' },
    ]) {
      expect((await failure(add(key))).code).toBe('INVALID_ARGUMENT');
    }
    await add({ alg: 'ES256', x, y });
    expect((await failure(add({ alg: 'ES256', x, y }))).code).toBe('ALREADY_EXISTS');
    await add({ kid: 'b', alg: 'PS256', ...(rsa(2048) as object) });
    expect((await failure(add({ kid: 'c', alg: 'ES256', x, y }))).code).toBe('FAILED_PRECONDITION');
    expect(await manage('RemovePublicKey', { account_id, kid: 'a' })).toMatchObject({ public_keys: [{ kid: 'b' }] });
  });
});

describe('service accounts', () => {
  test('are an administrator’s, of one tenant', async () => {
    const { id: account_id } = await newAccount({ roles: ['service'] });
    const { identity } = await signIn(system.first);
    expect((await failure(manage('CreateServiceAccount', { name: 'x' }, identity))).code).toBe('PERMISSION_DENIED');
    const elsewhere = { ...admin, tenant: 'acme' };
    expect((await failure(manage('GetServiceAccount', { account_id }, elsewhere))).code).toBe('NOT_FOUND');
    expect((await failure(manage('AddSecret', { account_id }, elsewhere))).code).toBe('NOT_FOUND');
    const byKey = { ...admin, key: randomUUID() };
    expect((await failure(manage('AddSecret', { account_id }, byKey))).code).toBe('PERMISSION_DENIED');
    const listed = await manage<machinesV1.ListServiceAccountsResponse>('ListServiceAccounts', { page_size: 200 });
    expect(listed.service_accounts.map(({ id }) => id)).toContain(account_id);
  });

  test('with the role operator are an operator’s', async () => {
    const plain = { ...admin, roles: 'admin' };
    const create = (identity: Identity) =>
      manage('CreateServiceAccount', { name: randomUUID(), roles: ['operator'] }, identity);
    expect((await failure(create(plain))).code).toBe('PERMISSION_DENIED');
    const { id: account_id } = await create(admin);
    for (const method of ['AddSecret', 'SetGrants', 'LockServiceAccount', 'DeleteServiceAccount']) {
      expect((await failure(manage(method, { account_id }, plain))).code).toBe('PERMISSION_DENIED');
    }
    const key = system.first.call(
      'ApiKeyService/CreateApiKey',
      { name: 'k', owner_id: account_id, roles: ['operator'] },
      plain,
    );
    expect((await failure(key)).code).toBe('PERMISSION_DENIED');
  });

  test.each([
    [{ name: '' }, 'name'],
    [{ name: 'x'.repeat(101) }, 'name'],
    [{ roles: ['gateway'] }, 'roles'],
    [{ scopes: ['a b'] }, 'scopes[0]'],
    [{ audiences: ['a b'] }, 'audiences'],
  ])('refuse %j', async (over, field) => {
    const refused = await failure(manage('CreateServiceAccount', { name: randomUUID(), ...over }));
    expect(refused).toMatchObject({ code: 'INVALID_ARGUMENT', details: { field } });
  });
});

test('the grant password is off unless a setting turns it on, and the metadata say so', async () => {
  const { email, password } = await signIn(system.first);
  const request = { grant_type: 'password', username: email, password };
  expect(await failure(token(request))).toMatchObject({
    message: expect.stringContaining('/api/v1/auth/login'),
    details: { oauth_error: 'unsupported_grant_type' },
  });
  const metadata = await system.first.call<userV1.Metadata>('OAuthService/GetMetadata', {});
  expect(metadata.grant_types_supported).toEqual(['refresh_token', 'client_credentials', 'guest']);
  expect(metadata.token_endpoint_auth_methods_supported).toContain('private_key_jwt');
});
