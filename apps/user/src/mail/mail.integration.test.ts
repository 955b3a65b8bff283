/** The outbox against a real SMTP server that is slow, away, or refuses; and the folder of development. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CallError, failure, signIn, startReplicaOn, UserSystem } from '../replicas.fixture.js';
import { Mailbox } from '../../testdata/mailbox.js';

let mailbox: Mailbox;
let system: UserSystem;

beforeAll(async () => {
  mailbox = await Mailbox.start();
  system = await UserSystem.start(2, {
    SMTP_URL: mailbox.url,
    MAIL_TIMEOUT_SECONDS: '2',
    MAIL_WAITING_MAX: '10',
    MAIL_PER_ACCOUNT_HOURLY: '1000',
  });
});
afterAll(async () => {
  await system?.stop();
  await mailbox?.stop();
});

const forgot = (email: string, replica = system.first) =>
  replica.call('AccountService/RequestPasswordReset', { email }, { 'client-ip': '198.51.100.1' });
const waiting = async () =>
  (await system.sql<{ attempts: number }>('select attempts from mail_outbox')).map((row) => row.attempts);
const refusal = (responseCode: number) => Object.assign(new Error('no such luck'), { responseCode });

test('a mail that cannot be handed over is tried again, and its link is a new one', async () => {
  const { email } = await signIn(system.first);
  let attempts = 0;
  mailbox.beforeTaking = () => {
    if (++attempts < 2) throw refusal(451);
  };
  await forgot(email);
  await expect.poll(() => attempts).toBe(1);
  await expect.poll(async () => waiting()).toEqual([1]);
  await expect
    .poll(async () => {
      await system.sql(`update mail_outbox set due_at = now() where due_at < now() + interval '30 s'`);
      return attempts;
    })
    .toBe(2);
  expect((await mailbox.next(email)).token).not.toBe('');
  await expect.poll(waiting).toEqual([]);
});

test('a mail that the server will never take is given up, and no other waits for it', async () => {
  const [refused, other] = [await signIn(system.first), await signIn(system.first)];
  mailbox.beforeTaking = (to) => {
    if (to === refused.email) throw refusal(550);
  };
  await Promise.all([forgot(refused.email), forgot(other.email)]);
  await mailbox.next(other.email);
  await expect.poll(waiting).toEqual([]);
});

test('a server that does not answer keeps no call waiting, and loses no mail', async () => {
  const { email, password } = await signIn(system.first);
  const stuck = Promise.withResolvers<void>();
  mailbox.beforeTaking = () => stuck.promise;
  await forgot(email);
  await expect.poll(waiting).toEqual([1]);
  await forgot(email);
  await expect(system.first.call('UserService/Login', { email, password })).resolves.toBeDefined();
  stuck.resolve();
  mailbox.beforeTaking = () => undefined;
  await system.sql('update mail_outbox set due_at = now()');
  await mailbox.next(email);
  await expect.poll(waiting).toEqual([]);
});

test('a mail whose process died after it took it is sent by another one', async () => {
  const { email, user } = await signIn(system.first);
  // As the dead one left it: taken, and due again when nobody can still be at it.
  await system.sql(
    `insert into mail_outbox (kind, tenant, owner, email, email_key, attempts, due_at)
     values ('reset', 'default', '00000000-0000-0000-0000-000000000000', $1, $1, 1, now() + interval '300 ms')`,
    [email],
  );
  const { token } = await mailbox.next(email);
  const links = await system.sql('select 1 from account_links where owner = $1', [user.id]);
  expect(links).toHaveLength(1);
  expect(token).not.toBe('');
});

test('strangers make no more wait than may: the rest is refused, alike for every address', async () => {
  await system.sql(
    `insert into mail_outbox (kind, tenant, owner, email, email_key, due_at)
     select 'verify', 'default', gen_random_uuid(), 'w@example.com', 'w@example.com', now() + interval '1 hour' from generate_series(1, 20)`,
  );
  const { email } = await signIn(system.first);
  await expect.poll(() => codeOf('nobody@example.com')).toBe('OVERLOADED');
  expect(await codeOf(email)).toBe('OVERLOADED');
  await system.sql('delete from mail_outbox');
});

const codeOf = (email: string) =>
  forgot(email).then(
    () => 'OK',
    (error: CallError) => error.failure.code,
  );

test('without a server mails are files of mode 600, and no token is logged', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-mail-'));
  const replica = await startReplicaOn({ ...system.environment, SMTP_URL: '', MAIL_FOLDER: folder });
  try {
    const { email } = await signIn(replica);
    // The replicas with a server would take it as well.
    await expect
      .poll(
        async () => {
          await forgot(email, replica).catch(() => undefined);
          return readdirSync(folder).length;
        },
        { timeout: 30_000, interval: 300 },
      )
      .toBeGreaterThan(0);
    const [file] = readdirSync(folder);
    expect(statSync(join(folder, file!)).mode & 0o777).toBe(0o600);
    expect(readFileSync(join(folder, file!), 'utf8')).toMatch(/slk_/);
  } finally {
    await replica.stop();
    rmSync(folder, { recursive: true });
  }
});

test('where nothing can be mailed, what would is refused and the rest works', async () => {
  const replica = await startReplicaOn({ ...system.environment, SMTP_URL: '' });
  try {
    const { identity, password } = await signIn(replica);
    const refused = await failure(forgot('x@example.com', replica));
    expect(refused.code).toBe('FAILED_PRECONDITION');
    expect(refused.message).toContain('SMTP_URL');
    const change = { current_password: password, new_password: 'a lamp, two boats and the sea' };
    await expect(replica.call('AccountService/ChangePassword', change, identity)).resolves.toBeDefined();
  } finally {
    await replica.stop();
  }
});
