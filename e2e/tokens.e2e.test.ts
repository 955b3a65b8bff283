import { startSystem, type TestSystem } from '@sluice/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { client, type Client } from './client.js';

let system: TestSystem;
let api: Client;

beforeAll(async () => {
  system = await startSystem({ env: { ACCESS_TOKEN_SECONDS: '5', PASSWORD_MEMORY_KIB: '64' } });
  api = client(system.baseUrl);
});
afterAll(() => system?.stop());

test('an expired token is refused, and a refresh gives one that works', async () => {
  const session = await api.signIn();
  expect((await session.call('GET', '/api/v1/me')).status).toBe(200);
  await expect
    .poll(async () => (await session.call('GET', '/api/v1/me')).body.code, { timeout: 20_000, interval: 300 })
    .toBe('TOKEN_EXPIRED');
  const refreshed = await api.call('POST', '/api/v1/auth/refresh', { refresh_token: session.refreshToken });
  const authorization = { authorization: `Bearer ${refreshed.body.access_token}` };
  expect((await api.call('GET', '/api/v1/me', undefined, authorization)).status).toBe(200);
});

test('more than 100 calls a minute from one address: 429, which says what blocked and how long', async () => {
  const session = await api.signIn();
  const answers = await Promise.all(Array.from({ length: 120 }, () => session.call('GET', '/api/v1/me')));
  const refused = answers.filter(({ status }) => status === 429);
  expect(refused.length).toBeGreaterThanOrEqual(20);
  expect(refused[0]!.body).toMatchObject({ code: 'RATE_LIMIT_EXCEEDED', details: { blocked_by: 'ip', limit: 100 } });
  expect(Number(refused[0]!.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
});
