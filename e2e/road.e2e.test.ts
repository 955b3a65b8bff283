import { readFileSync } from 'node:fs';
import { Client as GrpcClient, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { callerSecretFor, gatewaySecretFor } from '@sluice/config';
import { startSystem, type TestSystem } from '@sluice/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { client, type Client } from './client.js';

const root = 'the root of all secrets, held by the gateway';
let system: TestSystem;
let api: Client;

beforeAll(async () => {
  system = await startSystem({
    env: {
      NODES: 'small,large',
      NODE_BUDGET: '1000',
      RATE_LIMIT_ENABLED: 'false',
      PASSWORD_MEMORY_KIB: '64',
      GATEWAY_SECRET: root,
    },
  });
  api = client(system.baseUrl);
});
afterAll(() => system?.stop());

describe('the road', () => {
  test('register, log in, who am I, allocate, look, free', async () => {
    const account = { email: 'Ada@example.com', password: 'correct horse battery staple' };
    const registered = await api.call('POST', '/api/v1/auth/register', { ...account, display_name: 'Ada' });
    expect(registered).toMatchObject({
      status: 200,
      body: { user: { email: expect.any(String), display_name: 'Ada' } },
    });

    const login = await api.login(account);
    expect(login).toMatchObject({ status: 200, body: { token_type: 'Bearer', session_id: expect.any(String) } });
    const authorization = { authorization: `Bearer ${login.body.access_token}` };

    const me = await api.call('GET', '/api/v1/me', undefined, authorization);
    expect(me).toMatchObject({ status: 200, body: { id: registered.body.user.id, display_name: 'Ada' } });

    const allocated = await api.call('POST', '/api/v1/alloc', { request_id: 'road', token_count: 100 }, authorization);
    expect(allocated).toMatchObject({
      status: 200,
      body: { request_id: 'road', token_count: '100', state: 'ALLOCATED', strategy: expect.any(String) },
    });

    const usage = await api.call('GET', '/api/v1/metrics', undefined, authorization);
    expect(usage).toMatchObject({ status: 200, body: { capacity: '2000', used: '100', remaining: '1900' } });

    const freed = await api.call('POST', '/api/v1/free', { request_id: 'road' }, authorization);
    expect(freed).toMatchObject({ status: 200, body: { request_id: 'road', state: 'FREED' } });
  });

  test('the paths without a prefix are the same calls', async () => {
    const account = await api.register();
    const login = await api.call('POST', '/login', account);
    expect(login.status).toBe(200);
    const authorization = { authorization: `Bearer ${login.body.access_token}` };
    const allocated = await api.call('POST', '/alloc', { request_id: 'bare', token_count: '1' }, authorization);
    expect(allocated).toMatchObject({ status: 200, body: { state: 'ALLOCATED' } });
    const freed = await api.call('POST', '/free', { request_id: 'bare' }, authorization);
    expect(freed).toMatchObject({ status: 200, body: { state: 'FREED' } });
  });

  test('a refreshed session goes on; after logout its refresh token is refused', async () => {
    const session = await api.signIn();
    const refreshed = await api.call('POST', '/api/v1/auth/refresh', { refresh_token: session.refreshToken });
    expect(refreshed).toMatchObject({ status: 200, body: { access_token: expect.any(String) } });
    expect((await session.call('POST', '/api/v1/auth/logout', {})).status).toBe(200);
    const refused = await api.call('POST', '/api/v1/auth/refresh', { refresh_token: refreshed.body.refresh_token });
    expect(refused).toMatchObject({ status: 401, body: { code: 'INVALID_GRANT' } });
  });

  test('health and the public keys need no token', async () => {
    const health = () => api.call('GET', '/health');
    await expect.poll(health, { timeout: 20_000 }).toMatchObject({ status: 200, body: { status: 'ok' } });
    const keys = await api.call('GET', '/.well-known/jwks.json');
    expect(keys).toMatchObject({ status: 200, body: { keys: expect.any(Array) } });
    expect((keys.body.keys as unknown[])[0]).toMatchObject({ kty: 'EC', crv: 'P-256', alg: 'ES256' });
    expect(JSON.stringify(keys.body)).not.toContain('"d"');
  });
});

describe('refusals', () => {
  test('a wrong password and an unknown account cannot be told apart', async () => {
    const account = await api.register();
    const wrong = await api.login({ ...account, password: 'another password' });
    const unknown = await api.login({ email: 'nobody@example.com', password: 'another password' });
    expect(wrong).toMatchObject({ status: 401, body: { code: 'INVALID_CREDENTIALS' } });
    const { trace_id: _, ...same } = wrong.body;
    expect(unknown).toMatchObject({ status: 401, body: same });
  });

  test('an account that exists: 409', async () => {
    const account = await api.register();
    const again = await api.call('POST', '/api/v1/auth/register', account);
    expect(again).toMatchObject({ status: 409, body: { code: 'ALREADY_EXISTS' } });
  });

  test('no token: 401 with WWW-Authenticate', async () => {
    const answer = await api.call('POST', '/api/v1/alloc', { request_id: 'x', token_count: 1 });
    expect(answer).toMatchObject({ status: 401, body: { code: 'UNAUTHENTICATED', trace_id: expect.any(String) } });
    expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer/);
    expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
  });

  test('a forged token: 401', async () => {
    const { accessToken } = await api.signIn();
    const [header, payload, signature] = accessToken.split('.') as [string, string, string];
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>;
    const forged = Buffer.from(JSON.stringify({ ...claims, roles: ['admin'] })).toString('base64url');
    const none = Buffer.from(JSON.stringify({ alg: 'none', typ: 'at+jwt' })).toString('base64url');
    for (const token of [
      `${header}.${forged}.${signature}`,
      `${none}.${payload}.`,
      `${header}.${payload}.AAAA`,
      'abc',
    ]) {
      const answer = await api.call('GET', '/api/v1/me', undefined, { authorization: `Bearer ${token}` });
      expect(answer).toMatchObject({ status: 401, body: { code: 'TOKEN_INVALID' } });
    }
  });

  test('a method for admins: 403', async () => {
    const session = await api.signIn();
    const answer = await session.call('POST', '/api/v1/strategy', { strategy: 'largest' });
    expect(answer).toMatchObject({ status: 403, body: { code: 'PERMISSION_DENIED' } });
  });

  test('more than any node holds: 429 by budget, and nothing is taken', async () => {
    const session = await api.signIn();
    const answer = await session.allocate('too-much', 1001);
    expect(answer).toMatchObject({
      status: 429,
      body: { code: 'BUDGET_EXHAUSTED', details: { blocked_by: 'budget' } },
    });
    const [row] = await system.query<{ used: string }>('select coalesce(sum(used), 0) as used from budget.nodes');
    expect(row!.used).toBe('0');
  });

  test('the same request twice: one debit; with another count: 409', async () => {
    const session = await api.signIn();
    const first = await session.allocate('twice', 10);
    const second = await session.allocate('twice', 10);
    expect(second).toMatchObject({ status: 200, body: first.body });
    const other = await session.allocate('twice', 11);
    expect(other).toMatchObject({ status: 409, body: { code: 'IDEMPOTENCY_MISMATCH' } });
    expect((await session.free('twice')).status).toBe(200);
    expect((await session.free('twice')).status).toBe(200);
    const [row] = await system.query<{ used: string }>('select coalesce(sum(used), 0) as used from budget.nodes');
    expect(row!.used).toBe('0');
  });

  test('another user’s allocation does not exist: 404', async () => {
    const owner = await api.signIn();
    const stranger = await api.signIn();
    await owner.allocate('mine', 5);
    expect(await stranger.free('mine')).toMatchObject({ status: 404, body: { code: 'NOT_FOUND' } });
    expect((await owner.free('mine')).status).toBe(200);
  });

  test.each([0, -1, 1.5, '9223372036854775808', 'NaN', 1e30])('a token_count of %s: 400', async (count) => {
    const session = await api.signIn();
    expect((await session.allocate('odd', count)).status).toBe(400);
  });

  test('malformed JSON: 400 with the position', async () => {
    const answer = await api.call('POST', '/api/v1/auth/login', '{"email": "a@example.com",}');
    expect(answer).toMatchObject({ status: 400, body: { code: 'INVALID_JSON', grpc_status: 'INVALID_ARGUMENT' } });
  });

  test('an unknown path: 404; a wrong method: 405 with Allow', async () => {
    expect(await api.call('GET', '/api/v1/nothing')).toMatchObject({ status: 404, body: { code: 'ROUTE_NOT_FOUND' } });
    const wrong = await api.call('DELETE', '/api/v1/auth/login');
    expect(wrong).toMatchObject({ status: 405, body: { code: 'METHOD_NOT_ALLOWED' } });
    expect(wrong.headers.get('allow')).toContain('POST');
  });
});

test('one trace id goes from the answer through the logs of gateway and service; no secret is logged', async () => {
  const session = await api.signIn();
  const answer = await session.allocate('traced', 5000);
  const traceId = answer.body.trace_id;
  expect(traceId).toMatch(/^[0-9a-f]{32}$/);
  await expect.poll(() => system.log('gateway')).toContain(traceId);
  await expect.poll(() => system.log('allocator')).toContain(traceId);
  for (const name of ['gateway', 'user', 'allocator']) {
    const log = system.log(name);
    for (const secret of [session.accessToken, session.refreshToken, session.account.password]) {
      expect(log).not.toContain(secret);
    }
  }
});

describe('a secret for each service', () => {
  const ofUser = gatewaySecretFor('user', root);
  const ofAllocator = gatewaySecretFor('allocator', root);
  const ofPostcard = gatewaySecretFor('postcard', root);
  const postcardAtAllocator = callerSecretFor('postcard', ofAllocator);
  const methods = {
    user: '/sluice.user.v1.AdminService/ListUsers',
    allocator: '/sluice.allocator.v1.AllocatorService/ListNodes',
  };

  /** The status that a service gives, straight on its port, to who says that an operator calls. */
  function asOperator(service: keyof typeof methods, secret: string, name?: string): Promise<string> {
    const { address } = system.system.plan.instances.find((instance) => instance.name === service)!;
    const metadata = new Metadata();
    const said = {
      subject: 'root',
      tenant: 'default',
      roles: 'admin',
      'gateway-secret': secret,
      ...(name && { service: name }),
    };
    for (const [key, value] of Object.entries(said)) metadata.set(`x-sluice-${key}`, value);
    const asIs = (bytes: Buffer) => bytes;
    const grpc = new GrpcClient(address, credentials.createInsecure());
    return new Promise<string>((resolve) => {
      const answered = (error: ServiceError | null) => resolve(status[error?.code ?? status.OK]!);
      grpc.makeUnaryRequest(methods[service], asIs, asIs, Buffer.alloc(0), metadata, answered);
    }).finally(() => grpc.close());
  }

  test.each([
    ['user', 'the gateway', ofUser, undefined, 'OK'],
    ['user', 'who holds the secret of the allocator', ofAllocator, undefined, 'UNAUTHENTICATED'],
    ['user', 'postcard with its own', ofPostcard, undefined, 'UNAUTHENTICATED'],
    ['user', 'postcard with that for the allocator', postcardAtAllocator, 'postcard', 'UNAUTHENTICATED'],
    ['user', 'who holds the root, which is not spoken', root, undefined, 'UNAUTHENTICATED'],
    ['allocator', 'the gateway', ofAllocator, undefined, 'OK'],
    ['allocator', 'who holds the secret of the user service', ofUser, undefined, 'UNAUTHENTICATED'],
    ['allocator', 'postcard with its own', ofPostcard, undefined, 'UNAUTHENTICATED'],
    ['allocator', 'postcard under its name', postcardAtAllocator, 'postcard', 'PERMISSION_DENIED'],
    ['allocator', 'postcard without its name', postcardAtAllocator, undefined, 'UNAUTHENTICATED'],
    ['allocator', 'postcard under another name', postcardAtAllocator, 'greeter', 'UNAUTHENTICATED'],
  ] as const)('at %s, as an operator: %s', async (service, _, secret, name, expected) => {
    expect(await asOperator(service, secret, name)).toBe(expected);
  });

  test('postcard reserves and settles at the allocator for its caller', async () => {
    const session = await api.signIn();
    const opened = await session.call('POST', '/api/v1/sessions', {});
    const reply = await fetch(`${system.baseUrl}/api/v1/sessions/${opened.body.id}/messages`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${session.accessToken}` },
      body: JSON.stringify({ text: 'Hello.' }),
    });
    expect(await reply.text()).toContain('"receipt"');
    expect(reply.status).toBe(200);
  });

  test('the root stays with the gateway', () => {
    const holders = system.system.processes.filter(({ pid }) =>
      readFileSync(`/proc/${pid}/environ`, 'utf8').includes(root),
    );
    expect(holders.map(({ name }) => name)).toEqual(['gateway']);
  });
});
