import { gzipSync } from 'node:zlib';
import { descriptorSetPath } from '@sluice/contract';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { ask, protocols } from '../../testdata/client.js';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';
import { startIssuer, type TestIssuer } from '../../testdata/issuer.js';
import { startUserServer, type UserServer } from '../../testdata/user-server.js';

let user: UserServer;
let issuer: TestIssuer;
let gateway: TestGateway;
const start = (over: object = {}) =>
  startTestGateway(`127.0.0.1:${user.port}`, {
    upstream: {
      name: 'user',
      descriptor_set: descriptorSetPath,
      services: ['sluice.user.v1.UserService', 'sluice.user.v1.OAuthService'],
      oauth: ['sluice.user.v1.OAuthService.*'],
      trusted: true,
    },
    auth: issuer.auth,
    tenants: { hosts: { 'acme.example.com': 'acme', '*.acme.example.com': 'acme' } },
    ...over,
  });
beforeAll(async () => {
  [user, issuer] = [await startUserServer(), await startIssuer()];
  gateway = await start();
  await vi.waitFor(() => expect(gateway.runtime.verifier!.ready()).toBe(true));
});
afterAll(async () => {
  await gateway?.stop();
  issuer?.stop();
  user?.stop();
});
beforeEach(() => void user.seen.splice(0));

const json = { 'content-type': 'application/json' };
const form = { 'content-type': 'application/x-www-form-urlencoded' };
/** Fields of `LoginRequest`: 1 is the address, 4 the tenant. */
const loginMessage = (tenant: string) =>
  Buffer.concat([Buffer.from([0x0a, 1]), Buffer.from('a'), Buffer.from([0x22, tenant.length]), Buffer.from(tenant)]);
const frame = (message: Buffer, flags = 0) => {
  const prefix = Buffer.alloc(5);
  prefix[0] = flags;
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
};
const loginPath = '/sluice.user.v1.UserService/Login';

/** A login that names its tenant in its message, in each way that the gateway is spoken to. */
const ways: Record<string, (tenant: string) => { path: string; fields: Record<string, string>; body: Buffer }> = {
  JSON: (tenant) => ({ path: '/api/v1/auth/login', fields: json, body: Buffer.from(JSON.stringify({ tenant })) }),
  'a form': (tenant) => ({
    path: '/oauth/token',
    fields: form,
    body: Buffer.from(`grant_type=password&username=a&password=b&tenant=${tenant}`),
  }),
  'gRPC-Web': (tenant) => ({
    path: loginPath,
    fields: { 'content-type': 'application/grpc-web+proto' },
    body: frame(loginMessage(tenant)),
  }),
  'gRPC-Web, compressed': (tenant) => ({
    path: loginPath,
    fields: { 'content-type': 'application/grpc-web+proto', 'grpc-encoding': 'gzip' },
    body: frame(gzipSync(loginMessage(tenant)), 1),
  }),
  'Connect with JSON': (tenant) => ({
    path: loginPath,
    fields: { ...json, 'connect-protocol-version': '1' },
    body: Buffer.from(JSON.stringify({ tenant })),
  }),
  'Connect with protobuf': (tenant) => ({
    path: loginPath,
    fields: { 'content-type': 'application/proto', 'connect-protocol-version': '1' },
    body: loginMessage(tenant),
  }),
};
const send = (to: TestGateway, way: string, tenant: string, fields: Record<string, string> = {}) => {
  const request = ways[way]!(tenant);
  return ask(to.port, 'HTTP/1.1', { ...request, method: 'POST', fields: { ...request.fields, ...fields } });
};
const textOf = ({ body }: { body: Buffer }) => body.toString();

describe.each(protocols)('over %s', (protocol) => {
  const login = (fields: Record<string, string>, body = '{"email":"a"}') =>
    ask(gateway.port, protocol, { method: 'POST', path: '/api/v1/auth/login', fields: { ...json, ...fields }, body });
  const hostOf = (host: string): Record<string, string> => (protocol === 'HTTP/2' ? { ':authority': host } : { host });

  it('tells the service the tenant that the header or the host names, and none that the client smuggles in', async () => {
    await login({ 'x-tenant-id': 'bravo' });
    await login(hostOf('acme.example.com'));
    await login(hostOf('ACME.example.com.:8083'));
    await login(hostOf('eu.acme.example.com'));
    await login(hostOf('example.com'));
    await login({ 'x-sluice-tenant': 'bravo', 'grpc-metadata-x-sluice-tenant': 'bravo' });
    expect(user.seen.map(({ told }) => told)).toEqual(['bravo', 'acme', 'acme', 'acme', undefined, undefined]);
  });

  it.each<[string, Record<string, string>, string | undefined, string]>([
    [
      'header and host',
      { ...hostOf('acme.example.com'), 'x-tenant-id': 'bravo' },
      undefined,
      'X-Tenant-ID names the tenant "bravo", the host acme.example.com names the tenant "acme"',
    ],
    [
      'header and message',
      { 'x-tenant-id': 'bravo' },
      '{"tenant":"acme"}',
      'X-Tenant-ID names the tenant "bravo", the request names the tenant "acme"',
    ],
    [
      'host and message',
      hostOf('acme.example.com'),
      '{"tenant":"bravo"}',
      'The host acme.example.com names the tenant "acme", the request names the tenant "bravo"',
    ],
  ])('refuses a call whose %s differ, and names both', async (_, fields, body, detail) => {
    const answer = await login(fields, body);
    expect(answer.status).toBe(400);
    expect(answer.json).toMatchObject({ code: 'TENANT_MISMATCH', detail: expect.stringContaining(detail) as string });
    expect(user.seen).toEqual([]);
  });

  it.each(['', 'a b', '../etc', '-a', '?', 'a,b', 'x'.repeat(64), 'ünï'])('refuses the tenant %j', async (value) => {
    const answer = await login({ 'x-tenant-id': Buffer.from(value).toString('latin1') });
    expect(answer.status).toBe(400);
    expect(answer.json).toMatchObject({ code: 'MALFORMED_REQUEST' });
  });
});

it('refuses two header fields of the name', async () => {
  const { connect } = await import('node:net');
  const socket = connect(gateway.port, '127.0.0.1');
  socket.end('GET /health HTTP/1.1\r\nHost: a\r\nX-Tenant-ID: acme\r\nX-Tenant-ID: acme\r\nConnection: close\r\n\r\n');
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  expect(text).toMatch(/^HTTP\/1.1 400 .*more than one x-tenant-id header/s);
});

it('believes the token, and refuses a header or host that contradicts it', async () => {
  const me = (tid: string | undefined, fields: Record<string, string>) =>
    ask(gateway.port, 'HTTP/1.1', {
      path: '/api/v1/me',
      fields: { authorization: `Bearer ${issuer.token({ tid })}`, ...fields },
    });
  expect((await me('acme', { 'x-tenant-id': 'acme' })).status).toBe(200);
  expect((await me('acme', { host: 'acme.example.com' })).status).toBe(200);
  // Who has a tenant does not get another one, and who has none does not get any, by asking for it.
  expect((await me(undefined, { 'x-tenant-id': 'acme' })).status).toBe(200);
  expect(user.seen.map(({ told }) => told)).toEqual(['acme', 'acme', '']);
  const refused = await me('bravo', { 'x-tenant-id': 'acme' });
  expect(refused.status).toBe(400);
  expect(refused.json).toMatchObject({
    code: 'TENANT_MISMATCH',
    detail: 'The access token names the tenant "bravo", X-Tenant-ID names the tenant "acme". Send one of them.',
    details: { tenants: ['bravo', 'acme'] },
  });
  expect((await me('bravo', { host: 'acme.example.com' })).json).toMatchObject({ code: 'TENANT_MISMATCH' });
});

it.each(Object.keys(ways))('finds a contradiction in %s', async (way) => {
  const same = await send(gateway, way, 'acme', { 'x-tenant-id': 'acme' });
  expect(same.status).toBe(200);
  expect(user.seen.length).toBe(1);
  const other = await send(gateway, way, 'acme', { 'x-tenant-id': 'bravo' });
  expect(user.seen.length).toBe(1);
  if (way.startsWith('gRPC')) expect(other.fields['grpc-status'] ?? textOf(other)).toContain('3');
  else expect(other.status).toBe(400);
});

describe('a limit by tenant', () => {
  const limits = {
    policies: [
      { name: 'tenants', dimensions: ['tenant'], algorithm: 'sliding_window', limit: 2, window: '1h' },
      { name: 'addresses', dimensions: ['ip'], algorithm: 'sliding_window', limit: 1000, window: '1h' },
    ],
  };
  const statusOf = async (answer: Promise<{ status: number; fields: object; body: Buffer }>) => {
    const { status, body, fields } = await answer;
    return status !== 200 ||
      /"?grpc-status"?: ?8/.test(body.toString() + JSON.stringify(fields).replaceAll('":"', ': '))
      ? 429
      : 200;
  };

  it.each(Object.keys(ways))('counts logins whose message names it, by %s', async (way) => {
    const gate = await start({ limits });
    try {
      gate.runtime.tenants.learn('acme');
      gate.runtime.tenants.learn('bravo');
      const statuses = [];
      for (const tenant of ['acme', 'acme', 'acme', 'bravo']) statuses.push(await statusOf(send(gate, way, tenant)));
      expect(statuses).toEqual([200, 200, 429, 200]);
      expect(user.seen.map(({ inMessage }) => inMessage)).toEqual(['acme', 'acme', 'bravo']);
    } finally {
      await gate.stop();
    }
  });

  it.each([
    ['login', '/api/v1/auth/login'],
    ['register', '/api/v1/auth/register'],
    ['refresh', '/api/v1/auth/refresh'],
    ['guest', '/api/v1/auth/guest'],
    ['token', '/oauth/token'],
  ])(
    'counts a %s that names it by header or host, and one that names none as the default tenant’s',
    async (_, path) => {
      const gate = await start({ limits });
      try {
        const post = (fields: object) =>
          ask(gate.port, 'HTTP/1.1', { method: 'POST', path, fields: { ...json, ...fields }, body: '{}' });
        gate.runtime.tenants.learn('bravo');
        const asked = [{ host: 'acme.example.com' }, { 'x-tenant-id': 'acme' }, { 'x-tenant-id': 'acme' }];
        const others = [{ 'x-tenant-id': 'bravo' }, {}, { 'x-tenant-id': 'default' }, {}];
        const statuses = [];
        for (const fields of [...asked, ...others]) statuses.push((await post(fields)).status);
        expect(statuses).toEqual([200, 200, 429, 200, 200, 200, 429]);
        const last = await post({});
        expect(last.json).toMatchObject(
          path === '/oauth/token' ? { error: expect.any(String) as string } : { details: { blocked_by: 'tenant' } },
        );
      } finally {
        await gate.stop();
      }
    },
  );

  it('gives made-up tenants one share, and a tenant its own once the service has taken a call for it', async () => {
    const gate = await start({ limits });
    try {
      const login = async (tenant: string, email = 'a') =>
        (
          await ask(gate.port, 'HTTP/1.1', {
            method: 'POST',
            path: '/api/v1/auth/login',
            fields: json,
            body: JSON.stringify({ tenant, email }),
          })
        ).status;
      expect([await login('made-up', 'nobody'), await login('bravo')]).toEqual([401, 200]);
      expect([await login('made-up-2', 'nobody'), await login('made-up-3', 'nobody')]).toEqual([429, 429]);
      // The call that proved it counts in its own share, too.
      expect([await login('bravo'), await login('bravo')]).toEqual([200, 429]);
      // Also by a token that was checked.
      const authorization = `Bearer ${issuer.token({ tid: 'carol' })}`;
      expect((await ask(gate.port, 'HTTP/1.1', { path: '/api/v1/me', fields: { authorization } })).status).toBe(200);
      expect([await login('carol'), await login('carol')]).toEqual([200, 429]);
    } finally {
      await gate.stop();
    }
  });
});

it('takes another header field, or none, where the configuration says so', async () => {
  const gates = [await start({ tenants: { header: 'x-org' } }), await start({ tenants: { header: 'none' } })];
  try {
    for (const gate of gates) {
      const fields = { ...json, 'x-tenant-id': 'a b', 'x-org': 'acme' };
      await ask(gate.port, 'HTTP/1.1', { method: 'POST', path: '/api/v1/auth/login', fields, body: '{}' });
    }
    expect(user.seen.map(({ told }) => told)).toEqual(['acme', undefined]);
  } finally {
    for (const gate of gates) await gate.stop();
  }
});
