import { startSystem, type TestSystem } from '@sluice/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { client } from './client.js';

let system: TestSystem;
beforeAll(async () => {
  system = await startSystem({ replicas: { user: 2 }, env: { RATE_LIMIT_ENABLED: 'false' } });
});
afterAll(() => system?.stop());

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
