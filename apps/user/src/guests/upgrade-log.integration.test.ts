import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { userV1 } from '@sluice/contract';
import { freePort } from '@sluice/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connect, failure, identityOf, UserSystem } from '../replicas.fixture.js';

const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
let system: UserSystem;

beforeAll(async () => {
  expect(existsSync(main), 'run `npx tsc -b` first').toBe(true);
  system = await UserSystem.start(1);
});
afterAll(() => system?.stop());

test('an upgrade whose database connection is lost is logged without the address, the password and its hash', async () => {
  const port = await freePort();
  const child = spawn(process.execPath, [main], {
    env: { ...process.env, ...system.environment, USER_PORT: String(port), USER_ADMIN_PORT: '0', LOG_LEVEL: 'trace' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (log += chunk.toString()));
  await expect.poll(() => log).toContain('"ready"');
  const replica = connect(`127.0.0.1:${port}`);
  try {
    const device_id = 'a device of the log';
    const from = { 'client-ip': '198.51.100.1' };
    const guest = await replica.call<userV1.TokenResponse>('UserService/CreateGuest', { device_id }, from);
    const identity = identityOf(guest.access_token);
    const upgrade = { email: 'upgraded@example.com', password: 'correct horse battery', display_name: 'Ada Nymous' };
    const blocked = `select pid from pg_stat_activity where wait_event_type = 'Lock' and query like 'update users u set guest%'`;
    await system.within(async (query) => {
      await query('select from users where id = $1 for update', [identity.subject]);
      const refused = failure(replica.call('UserService/UpgradeGuest', upgrade, identity));
      await expect.poll(async () => (await system.sql(blocked)).length).toBe(1);
      await system.sql(`select pg_terminate_backend(pid) from (${blocked}) connection`);
      expect((await refused).code).toBe('UNAVAILABLE');
    });
    await expect.poll(() => log).toContain('call failed');
    expect(log).toContain('admin_shutdown');
    const secrets = ['$argon2id$', ...Object.values(upgrade), guest.access_token, guest.refresh_token, device_id];
    for (const secret of secrets) expect(log).not.toContain(secret);
  } finally {
    replica.close();
    child.kill('SIGKILL');
  }
});
