import { startSystem, type TestSystem } from '@sluice/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { client, type Client, type Session } from './client.js';

let system: TestSystem;
let api: Client;
let session: Session;

beforeAll(async () => {
  system = await startSystem({ durable: true, env: { RATE_LIMIT_ENABLED: 'false', PASSWORD_MEMORY_KIB: '64' } });
  api = client(system.baseUrl);
  session = await api.signIn();
});
afterAll(() => system?.stop());

/** Allocates again and again until it works; what was answered counts. */
const allocates = (id: string) =>
  expect
    .poll(async () => (await session.allocate(id, 1).catch(() => undefined))?.status, {
      timeout: 30_000,
      interval: 200,
    })
    .toBe(200);

describe.each(['gateway', 'allocator', 'user'])('%s killed', (name) => {
  test('it is started again, and what was granted is still there', async () => {
    await allocates(`before-${name}`);
    const { pid } = system.process(name);
    await system.process(name).kill('SIGKILL');
    await system.process(name).ready();
    expect(system.process(name).pid).not.toBe(pid);
    await allocates(`after-${name}`);
    const kept = await session.call('GET', `/api/v1/allocations/before-${name}`);
    expect(kept).toMatchObject({ status: 200, body: { state: 'ALLOCATED' } });
    expect(system.reports.some((report) => report.startsWith(`${name} was ended by SIGKILL`))).toBe(true);
  });
});

test('Postgres killed: it is started again, and what was granted is still there', async () => {
  await allocates('before-postgres');
  const { server } = system.system.database!;
  process.kill(server.pid, 'SIGKILL');
  await server.ended;
  await allocates('after-postgres');
  const kept = () => session.call('GET', '/api/v1/allocations/before-postgres');
  // A connection of the pool that broke is noticed by the call that gets it.
  await expect.poll(kept, { timeout: 30_000, interval: 200 }).toMatchObject({ body: { state: 'ALLOCATED' } });
});

test('a process that is restarted in order keeps sessions and data', async () => {
  await allocates('before-restart');
  await system.restart('user');
  await system.restart('allocator');
  await allocates('after-restart');
  expect((await session.call('GET', '/api/v1/me')).status).toBe(200);
});
