import { generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { startSystem, type TestSystem } from '@sluice/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Answer, client, type Client } from './client.js';

let system: TestSystem;
/** One for each gateway. */
let apis: Client[];
beforeAll(async () => {
  system = await startSystem({ replicas: { user: 2, gateway: 2 }, env: { RATE_LIMIT_ENABLED: 'false' } });
  const gateways = system.system.plan.instances.filter(({ name }) => name.startsWith('gateway'));
  apis = gateways.map(({ address }) => client(`http://${address}`));
  expect(apis).toHaveLength(2);
});
afterAll(() => system?.stop());

it('an API key that is revoked through one gateway is refused by both', async () => {
  const [one, other] = apis as [Client, Client];
  const session = await one.signIn();
  const made = await session.call('POST', '/api/v1/keys', { name: 'ci' });
  const { key, secret } = made.body as unknown as { key: { id: string }; secret: string };
  const ask = (api: Client) => api.call('GET', '/api/v1/strategy', undefined, { 'x-api-key': secret });
  // Both know the key, so a verdict that is kept is what has to go.
  expect((await Promise.all(apis.map(ask))).map(({ status }) => status)).toEqual([200, 200]);
  const headers = { authorization: `Bearer ${session.accessToken}` };
  expect((await other.call('DELETE', `/api/v1/keys/${key.id}`, undefined, headers)).status).toBe(200);
  const codes = async () => (await Promise.all(apis.map(ask))).map(({ body }) => body.code);
  await expect.poll(codes, { interval: 20, timeout: 15_000 }).toEqual(['KEY_ENDED', 'KEY_ENDED']);
});

it('a service account reaches a method by private_key_jwt, through either gateway, and takes each assertion once', async () => {
  const [one, other] = apis as [Client, Client];
  const login = await one.login({ email: 'admin@sluice.local', password: adminPassword() });
  const headers = { authorization: `Bearer ${login.body.access_token}` };
  const manage = (path: string, body: object) =>
    one.call('POST', `/api/v1/admin/service-accounts${path}`, body, headers);
  const { id } = (await manage('', { name: 'deploy' })).body as unknown as { id: string };
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { x, y } = publicKey.export({ format: 'jwk' });
  expect((await manage(`/${id}/public-keys`, { kid: 'k1', alg: 'ES256', x, y })).status).toBe(200);

  const metadata = (await other.call('GET', '/.well-known/oauth-authorization-server')).body;
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Math.floor(Date.now() / 1000) + 240;
  const claims = { iss: id, sub: id, aud: metadata['token_endpoint'], exp, jti: randomUUID() };
  const signed = `${part({ alg: 'ES256', kid: 'k1' })}.${part(claims)}`;
  const signature = sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' });
  const client_assertion = `${signed}.${signature.toString('base64url')}`;
  const form = String(
    new URLSearchParams({
      grant_type: 'client_credentials',
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      client_assertion,
    }),
  );
  const type = { 'content-type': 'application/x-www-form-urlencoded' };
  const answers = await Promise.all(
    [one, other, one, other].map((api) => api.call('POST', '/oauth/token', form, type)),
  );
  const granted = answers.filter(({ status }) => status === 200);
  expect(granted, JSON.stringify(answers.map(({ body }) => body))).toHaveLength(1);
  const refused = answers.filter((answer) => !granted.includes(answer));
  expect(new Set(refused.map(({ status, body }) => `${status} ${body['error'] as string}`))).toEqual(
    new Set(['401 invalid_client']),
  );

  const token = { authorization: `Bearer ${(granted[0] as Answer).body.access_token}` };
  for (const api of apis) expect((await api.call('GET', '/api/v1/strategy', undefined, token)).status).toBe(200);
  expect((await manage(`/${id}/lock`, {})).status).toBe(200);
  const statuses = () =>
    Promise.all(apis.map(async (api) => (await api.call('GET', '/api/v1/strategy', undefined, token)).status));
  await expect.poll(statuses, { interval: 20, timeout: 15_000 }).toEqual([401, 401]);
});

// Kills the user service, so it comes last: each gateway finds it again in its own time.
it('an API key works over REST until it is revoked, whichever replica made or revoked it, and while the user service is away', async () => {
  const api = client(system.baseUrl);
  const session = await api.signIn();
  const made = await session.call('POST', '/api/v1/keys', { name: 'ci' });
  const { key, secret } = made.body as unknown as { key: { id: string }; secret: string };
  const ask = (headers: Record<string, string>) => api.call('GET', '/api/v1/strategy', undefined, headers);
  expect((await ask({ authorization: `Bearer ${secret}` })).status).toBe(200);
  expect((await ask({ 'x-api-key': secret })).status).toBe(200);
  expect((await ask({ 'x-api-key': secret, authorization: `Bearer ${secret}` })).body.code).toBe(
    'AUTHORIZATION_DUPLICATE',
  );
  const another = await api.call('POST', '/api/v1/keys', { name: 'x' }, { 'x-api-key': secret });
  expect([another.status, another.body.code]).toEqual([403, 'PERMISSION_DENIED']);

  const replicas = system.system.processes.filter(({ name }) => name.startsWith('user'));
  for (const replica of replicas) replica.kill('SIGKILL');
  expect((await ask({ 'x-api-key': secret })).status).toBe(200);
  for (const replica of replicas) await replica.ready();

  // The gateway finds the replicas again in a moment.
  const revoke = async () => (await session.call('DELETE', `/api/v1/keys/${key.id}`)).status;
  await expect.poll(revoke, { interval: 50, timeout: 20_000 }).toBe(200);
  await expect
    .poll(async () => (await ask({ 'x-api-key': secret })).body.code, { interval: 20, timeout: 15_000 })
    .toBe('KEY_ENDED');
});

/** Of the administrator that the first start created. */
function adminPassword(): string {
  const environment = readFileSync(`/proc/${system.process('user').pid}/environ`, 'utf8').split('\0');
  const setting = 'ADMIN_PASSWORD_FILE=';
  const line = environment.find((one) => one.startsWith(setting));
  return readFileSync(line!.slice(setting.length), 'utf8').trim();
}
