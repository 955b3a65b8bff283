import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startSystem, type TestSystem } from '@sluice/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { client } from './client.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'sluice reload '));
const file = join(folder, 'gateway.yaml');
const original = readFileSync(join(root, 'config/gateway.yaml'), 'utf8').replaceAll(
  '../libs/contract',
  join(root, 'libs/contract'),
);

/** How long the gateway leaves the channels of a configuration that was replaced open. */
const OLD_CHANNELS_MS = 1000;

let system: TestSystem;
beforeAll(async () => {
  writeFileSync(file, original);
  system = await startSystem({ env: { GATEWAY_CONFIG: file } });
});
afterAll(async () => {
  await system?.stop();
  rmSync(folder, { recursive: true });
});

const limitOf = async (token: string) => {
  const { body } = await client(system.baseUrl).call('GET', '/api/v1/me', undefined, {
    authorization: `Bearer ${token}`,
  });
  expect(body['email']).toBeDefined();
  const { headers } = await fetch(`${system.baseUrl}/api/v1/me`, { headers: { authorization: `Bearer ${token}` } });
  return headers.get('ratelimit-policy');
};

it('takes a changed file over, refuses a bad one with its line, and keeps callers signed in', async () => {
  const { accessToken } = await client(system.baseUrl).signIn();
  expect(await limitOf(accessToken)).toContain('q=100');

  writeFileSync(file, original.replace('limit: 100', 'limit: 77'));
  await expect.poll(() => limitOf(accessToken), { timeout: 10_000 }).toContain('q=77');

  writeFileSync(file, original.replace('limit: 100', 'limit: many'));
  await expect
    .poll(() => system.log('gateway'), { timeout: 10_000 })
    .toMatch(/gateway\.yaml:\d+:\d+: limits\.policies\.0\.limit/);
  expect(await limitOf(accessToken)).toContain('q=77');

  // Routes and channels are new too, and go on when the old channels are closed.
  const changed = 'json: { proto_names: false }\n    max_queued: 9000';
  writeFileSync(file, original.replaceAll('json: { proto_names: true }', changed));
  const me = () =>
    client(system.baseUrl).call('GET', '/api/v1/me', undefined, { authorization: `Bearer ${accessToken}` });
  await expect.poll(async () => (await me()).body, { timeout: 10_000 }).toHaveProperty('displayName');
  await new Promise((resolve) => setTimeout(resolve, OLD_CHANNELS_MS * 3));
  expect(await me()).toMatchObject({ status: 200, body: { displayName: '' } });
  const { body: health } = await client(system.baseUrl).call('GET', '/health');
  expect(health).toMatchObject({ status: 'ok' });
}, 60_000);
