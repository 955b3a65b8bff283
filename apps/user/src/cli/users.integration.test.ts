import { afterAll, beforeAll, expect, test } from 'vitest';
import { Mailbox } from '../../testdata/mailbox.js';
import { failure, signIn, UserSystem } from '../replicas.fixture.js';
import { runBuilt } from './run-command.fixture.js';

let mailbox: Mailbox;
let system: UserSystem;
beforeAll(async () => {
  mailbox = await Mailbox.start();
  system = await UserSystem.start(1, { SMTP_URL: mailbox.url });
});
afterAll(async () => {
  await system?.stop();
  await mailbox?.stop();
});

const users = (parameters: readonly string[], input = '') => runBuilt('users', parameters, system.environment, input);
const login = (email: string, password: string) => system.first.call('UserService/Login', { email, password });

test('accounts are made, given passwords, verified, locked, listed and deleted by command', async () => {
  const made = await users(['create', 'cli@example.com', '--role', 'editor']);
  expect(made).toMatchObject({ code: 0, err: '' });
  const password = /shown once: (\S+)/.exec(made.out)![1]!;
  expect((await failure(login('cli@example.com', password))).code).toBe('PASSWORD_CHANGE_REQUIRED');
  const set = await users(['set-password', 'cli@example.com'], 'seven quiet trains to Aarhus\n');
  expect(set.out).toContain('must change the password');
  expect((await failure(login('cli@example.com', 'seven quiet trains to Aarhus'))).code).toBe(
    'PASSWORD_CHANGE_REQUIRED',
  );
  expect((await users(['verify', 'CLI@example.com'])).out).not.toContain('unverified');
  expect((await users(['lock', 'cli@example.com'])).out).toContain('locked');
  expect((await users(['delete', 'cli@example.com'])).out).toContain('will be deleted on');
  expect((await users(['list', 'cli@'])).out).toMatch(/cli@example.com {2}\[editor\].*deleted on/);
  const actors = await system.sql<{ actor: string }>(
    `select distinct actor from audit_events where action like 'account.%'`,
  );
  expect(actors).toEqual([{ actor: 'command-line' }]);
});

test('sessions are listed and ended, passwords withdrawn, people invited, tenants changed', async () => {
  const { email, password } = await signIn(system.first);
  expect((await users(['sessions', email])).out.trim().split('\n')).toHaveLength(1);
  expect((await users(['end-sessions', email])).out).toBe('1 sessions have ended\n');
  expect((await users(['withdraw-password', email])).code).toBe(0);
  expect((await mailbox.next(email)).token).not.toBe('');
  expect((await failure(login(email, password))).code).toBe('INVALID_CREDENTIALS');
  expect((await users(['invite', 'new@example.com', '--role', 'admin'])).code).toBe(0);
  expect((await mailbox.next('new@example.com')).token).not.toBe('');
  expect((await users(['invitations'])).out).toContain('new@example.com  [admin]');
  expect((await users(['tenant', '--tenant', 'default', '--name', 'Ours', '--closed'])).out).toBe(
    'default  Ours  closed\n',
  );
});

test('mistakes are told, with what to type', async () => {
  const unknown = await users(['lock', 'nobody@example.com']);
  expect(unknown).toMatchObject({ code: 1, err: 'Failed: the tenant default has no account nobody@example.com\n' });
  const weak = await users(['create', 'x']);
  expect(weak).toMatchObject({
    code: 1,
    err: expect.stringContaining('INVALID_ARGUMENT: email must be an e-mail address'),
  });
  for (const wrong of [['lock'], ['tenant', '--open', '--closed']]) {
    expect(await users(wrong)).toMatchObject({ code: 64, err: expect.stringContaining('Usage: npm run users') });
  }
});
