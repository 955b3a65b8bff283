import type { userV1 } from '@sluice/contract';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { claimsOf, failure, signIn, UserSystem } from '../replicas.fixture.js';

let system: UserSystem;

beforeAll(async () => {
  system = await UserSystem.start(2, { OAUTH_PASSWORD_GRANT: 'true' });
});
afterAll(() => system?.stop());

const token = (request: Partial<userV1.TokenRequest>, replica = 0) =>
  system.replica(replica).call<userV1.TokenResponse>('OAuthService/Token', request);
const asker = { subject: 'a-service', tenant: 'default', roles: 'service' };
const introspect = (shown: string, identity: object = asker) =>
  system.first.call<userV1.IntrospectResponse>('OAuthService/Introspect', { token: shown }, identity);

describe('token endpoint', () => {
  test('grants by password, refresh token and to guests, over the sessions of the JSON methods', async () => {
    const { email, password } = await signIn(system.first);
    const first = await token({ grant_type: 'password', username: email, password });
    const second = await token({ grant_type: 'refresh_token', refresh_token: first.refresh_token }, 1);
    expect(claimsOf(second.access_token).sid).toBe(first.session_id);
    const byJson = { refresh_token: second.refresh_token };
    await expect(system.first.call('UserService/Refresh', byJson)).resolves.toMatchObject({ token_type: 'Bearer' });
    const guest = await token({ grant_type: 'guest', device_id: 'phone' });
    expect(claimsOf(guest.access_token)).toMatchObject({ guest: true, tid: 'default' });
  });

  test.each([
    [{}, 'INVALID_ARGUMENT', { field: 'grant_type' }],
    [{ grant_type: 'implicit' }, 'INVALID_ARGUMENT', { field: 'grant_type', oauth_error: 'unsupported_grant_type' }],
    [{ grant_type: 'password', username: 'a@example.com' }, 'INVALID_ARGUMENT', { field: 'password' }],
    [{ grant_type: 'refresh_token' }, 'INVALID_ARGUMENT', { field: 'refresh_token' }],
    [{ grant_type: 'refresh_token', refresh_token: 'x' }, 'INVALID_GRANT', {}],
    [{ grant_type: 'password', username: 'a@example.com', password: 'wrong password' }, 'INVALID_CREDENTIALS', {}],
    [{ grant_type: 'password', username: 'a@example.com', password: 'x' }, 'INVALID_CREDENTIALS', {}],
    [{ grant_type: 'password', username: 'a@example.com', password: 'x'.repeat(3000) }, 'INVALID_CREDENTIALS', {}],
    [{ grant_type: 'password', username: 'ada', password: 'wrong password' }, 'INVALID_CREDENTIALS', {}],
    [{ grant_type: 'guest', device_id: 'd', client_id: 'other' }, 'UNAUTHENTICATED', { oauth_error: 'invalid_client' }],
    [
      { grant_type: 'guest', client_id: 'sluice', client_secret: 's' },
      'UNAUTHENTICATED',
      { oauth_error: 'invalid_client' },
    ],
    [{ grant_type: 'guest', scope: 'read' }, 'INVALID_ARGUMENT', { field: 'scope', oauth_error: 'invalid_scope' }],
    [
      { grant_type: 'refresh_token', refresh_token: 'x', scope: 'a' },
      'INVALID_ARGUMENT',
      { field: 'scope', oauth_error: 'invalid_scope' },
    ],
  ])('refuses %j', async (request, code, details) => {
    expect(await failure(token(request))).toMatchObject({ code, details });
  });
});

describe('revocation endpoint', () => {
  const revoke = (shown: string) => system.first.call('OAuthService/Revoke', { token: shown });

  test.each(['refresh_token', 'access_token'] as const)('ends the session of a %s, and twice is once', async (kind) => {
    const { tokens } = await signIn(system.first);
    await revoke(tokens[kind]);
    await revoke(tokens[kind]);
    const refused = await failure(token({ grant_type: 'refresh_token', refresh_token: tokens.refresh_token }));
    expect(refused.code).toBe('INVALID_GRANT');
  });

  test('is for the clients that are known', async () => {
    const { tokens } = await signIn(system.first);
    for (const client of [{ client_id: 'other' }, { client_id: 'sluice', client_secret: 's' }]) {
      const refused = system.first.call('OAuthService/Revoke', { token: tokens.refresh_token, ...client });
      expect((await failure(refused)).details).toEqual({ oauth_error: 'invalid_client' });
    }
    await expect(token({ grant_type: 'refresh_token', refresh_token: tokens.refresh_token })).resolves.toBeDefined();
  });

  test('takes text that is no token, but not nothing', async () => {
    expect((await failure(revoke(''))).details).toEqual({ field: 'token' });
    await expect(revoke('nonsense')).resolves.toEqual({});
    const { tokens } = await signIn(system.first);
    await expect(revoke(`${tokens.access_token.slice(0, -4)}AAAA`)).resolves.toEqual({});
    await expect(token({ grant_type: 'refresh_token', refresh_token: tokens.refresh_token })).resolves.toBeDefined();
  });
});

describe('introspection endpoint', () => {
  test('knows both kinds of token while their session lives', async () => {
    const { tokens, user, identity } = await signIn(system.first);
    const access = await introspect(tokens.access_token);
    expect(access).toMatchObject({
      active: true,
      sub: user.id,
      sid: tokens.session_id,
      tid: 'default',
      token_type: 'Bearer',
      iss: 'http://localhost:8083',
      aud: 'sluice',
    });
    expect(access.exp).toBe(claimsOf(tokens.access_token)['exp']);
    expect(await introspect(tokens.refresh_token)).toMatchObject({ active: true, sub: user.id });
    await system.first.call('UserService/Logout', {}, identity);
    expect(await introspect(tokens.access_token)).toEqual({ active: false, roles: null });
    expect(await introspect(tokens.refresh_token)).toEqual({ active: false, roles: null });
  });

  test('says nothing about other tenants, except to the gateway', async () => {
    const { tokens } = await signIn(system.first);
    expect((await introspect(tokens.access_token, { ...asker, tenant: 'acme' })).active).toBe(false);
    const gateway = { subject: 'gateway', tenant: '', roles: 'gateway' };
    expect((await introspect(tokens.access_token, gateway)).active).toBe(true);
  });

  test('answers nobody without the role', async () => {
    const { tokens, identity } = await signIn(system.first);
    expect((await failure(introspect(tokens.access_token, identity))).code).toBe('PERMISSION_DENIED');
    expect((await failure(introspect(tokens.access_token, {}))).code).toBe('UNAUTHENTICATED');
  });
});

test('the metadata names the endpoints under the issuer', async () => {
  const metadata = await system.first.call<userV1.Metadata>('OAuthService/GetMetadata', {});
  expect(metadata).toMatchObject({
    issuer: 'http://localhost:8083',
    token_endpoint: 'http://localhost:8083/oauth/token',
    jwks_uri: 'http://localhost:8083/.well-known/jwks.json',
    grant_types_supported: ['password', 'refresh_token', 'client_credentials', 'guest'],
  });
});
