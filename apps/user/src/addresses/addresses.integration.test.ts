/** Addresses that are verified and changed, over two replicas, with mails through a real SMTP server. */
import type { accountV1, userV1 } from '@sluice/contract';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Mailbox } from '../../testdata/mailbox.js';
import {
  CallError,
  claimsOf,
  failure,
  type Identity,
  identityOf,
  type Replica,
  UserSystem,
} from '../replicas.fixture.js';

const PASSWORD = 'a lamp, two boats and the sea';
const STRANGERS = 'seven quiet trains to Aarhus';

let mailbox: Mailbox;
/** Verification is required for logins. */
let system: UserSystem;
/** A replica of the same that requires it for budgets. */
let forBudgets: Replica;

beforeAll(async () => {
  mailbox = await Mailbox.start();
  system = await UserSystem.start(2, {
    SMTP_URL: mailbox.url,
    EMAIL_VERIFICATION: 'login',
    MAIL_PER_ACCOUNT_HOURLY: '20',
  });
  forBudgets = await UserSystem.join(system, { EMAIL_VERIFICATION: 'budgets' });
});
afterAll(async () => {
  await forBudgets?.stop();
  await system?.stop();
  await mailbox?.stop();
});

let count = 0;
const newEmail = () => `reader${++count}@example.com`;
const from = () => ({ 'client-ip': `198.51.100.${++count % 250}` });
const register = (email: string, password = PASSWORD, replica: Replica = system.replica(count)) =>
  replica.call<userV1.RegisterResponse>('UserService/Register', { email, password }, from());
const login = (email: string, password = PASSWORD, replica: Replica = system.replica(count)) =>
  replica.call<userV1.TokenResponse>('UserService/Login', { email, password }, from());
const account = <T>(method: string, request: object, identity: Identity = from()) =>
  system.replica(++count).call<T>(`AccountService/${method}`, request, identity);
const verify = (token: string, password = PASSWORD) => account('VerifyEmail', { token, password });
const codeOf = async (call: Promise<unknown>) =>
  call.then(
    () => 'OK',
    (error: CallError) => error.failure.code,
  );
/** A user whose address is verified. */
async function verified(email = newEmail()) {
  await register(email);
  await verify((await mailbox.next(email)).token);
  const tokens = await login(email);
  return { email, tokens, identity: { ...identityOf(tokens.access_token), ...from() } };
}

describe('where logins need it', () => {
  test('an account begins with the link and the password together, once', async () => {
    const email = newEmail();
    const answer = await register(email);
    expect(answer).toEqual({ user: null, verification_sent: true });
    const first = await mailbox.next(email);
    const refused = await failure(login(email));
    expect(refused.code).toBe('INVALID_CREDENTIALS');
    expect(refused.message).toContain('not verified');
    // The refused login has mailed another link, which alone is good.
    const { token } = await mailbox.next(email);
    expect(await codeOf(verify(token, STRANGERS))).toBe('INVALID_CREDENTIALS');
    const codes = [await codeOf(verify(first.token)), await codeOf(verify(token)), await codeOf(verify(token))];
    expect(codes).toEqual(['LINK_INVALID', 'OK', 'LINK_INVALID']);
    const tokens = await login(email);
    expect(claimsOf(tokens.access_token)['email_verified']).toBe(true);
  });

  test('registering answers alike for an address that has an account, whose owner is told', async () => {
    const { email } = await verified();
    expect(await register(email, STRANGERS)).toEqual(await register(newEmail()));
    const mail = await mailbox.next(email);
    expect(mail.subject).toContain('You have an account');
    expect(mail.token).toBe('');
    expect((await failure(login(email, STRANGERS))).message).toBe((await failure(login(newEmail()))).message);
    await expect(login(email)).resolves.toBeDefined();
  });

  test('a stranger who registers an address first keeps its owner from nothing, and has nothing of it', async () => {
    const email = newEmail();
    await register(email, STRANGERS);
    const strangers = await mailbox.next(email);
    await register(email);
    const owners = await mailbox.next(email);
    // The owner opens the wrong link: his password does not fit it, and without the stranger's nothing happens.
    expect(await codeOf(verify(strangers.token))).toBe('INVALID_CREDENTIALS');
    await register(email, 'nine green bottles on a wall');
    await mailbox.next(email);
    expect(await codeOf(verify(owners.token))).toBe('OK');
    await expect(login(email)).resolves.toBeDefined();
    expect(await codeOf(login(email, STRANGERS))).toBe('INVALID_CREDENTIALS');
    expect(await codeOf(verify(strangers.token, STRANGERS))).toBe('LINK_INVALID');
    const rows = await system.sql('select 1 from users where email_key = $1', [email]);
    expect(rows).toHaveLength(1);
  });

  test('of two owners’ links at once over two replicas one account comes', async () => {
    const email = newEmail();
    await register(email, STRANGERS);
    await mailbox.next(email);
    const tokens = [];
    for (const password of [PASSWORD, `${PASSWORD}!`]) {
      await register(email, password);
      tokens.push((await mailbox.next(email)).token);
    }
    const codes = await Promise.all([verify(tokens[0]!), verify(tokens[1]!, `${PASSWORD}!`)].map(codeOf));
    expect(codes.filter((code) => code === 'OK')).toHaveLength(1);
    expect(await system.sql('select 1 from users where email_key = $1', [email])).toHaveLength(1);
  });

  test('a reset by mail verifies the address as well', async () => {
    const email = newEmail();
    await register(email, STRANGERS);
    await mailbox.next(email);
    await account('RequestPasswordReset', { email });
    const { token } = await mailbox.next(email);
    await account('ResetPassword', { token, password: PASSWORD });
    await expect(login(email)).resolves.toBeDefined();
  });
});

describe('where budgets need it', () => {
  test('an unverified user signs in and is told by the token; a mail can be had again', async () => {
    const email = newEmail();
    await register(email, PASSWORD, forBudgets);
    await mailbox.next(email);
    const tokens = await login(email, PASSWORD, forBudgets);
    expect(claimsOf(tokens.access_token)['email_verified']).toBe(false);
    await account('RequestVerification', {}, identityOf(tokens.access_token));
    await verify((await mailbox.next(email)).token);
    const again = await forBudgets.call<userV1.TokenResponse>('UserService/Refresh', {
      refresh_token: tokens.refresh_token,
    });
    expect(claimsOf(again.access_token)['email_verified']).toBe(true);
    await account('RequestVerification', {}, identityOf(tokens.access_token));
    await expect.poll(async () => (await system.sql('select 1 from mail_outbox')).length).toBe(0);
    expect(mailbox.received.map(({ to }) => to)).not.toContain(email);
  });

  test('the owner takes an address over from a stranger who is signed in, whose sessions end', async () => {
    const email = newEmail();
    await register(email, STRANGERS, forBudgets);
    const strangers = await login(email, STRANGERS, forBudgets);
    await mailbox.next(email);
    await register(email, PASSWORD, forBudgets);
    await verify((await mailbox.next(email)).token);
    const refresh = system.first.call('UserService/Refresh', { refresh_token: strangers.refresh_token });
    expect((await failure(refresh)).code).toBe('INVALID_GRANT');
    const owner = claimsOf((await login(email)).access_token).sub;
    expect(owner).not.toBe(claimsOf(strangers.access_token).sub);
  });
});

test('a guest who becomes a user verifies the address too', async () => {
  const email = newEmail();
  const guest = await system.first.call<userV1.TokenResponse>('UserService/CreateGuest', { device_id: email }, from());
  const upgrade = { email, password: PASSWORD };
  const identity = identityOf(guest.access_token);
  const tokens = await system.first.call<userV1.TokenResponse>('UserService/UpgradeGuest', upgrade, identity);
  expect(claimsOf(tokens.access_token)['email_verified']).toBe(false);
  await verify((await mailbox.next(email)).token);
  await expect(login(email)).resolves.toBeDefined();
});

describe('a change of address', () => {
  const change = (identity: Identity, email: string, password = PASSWORD) =>
    account('ChangeEmail', { email, password }, identity);
  const confirm = (token: string) => account<accountV1.ConfirmEmailChangeResponse>('ConfirmEmailChange', { token });

  test.each(['old first', 'new first', 'both at once'])('needs both mailboxes (%s)', async (order) => {
    const { email, identity } = await verified();
    const wanted = newEmail();
    expect((await failure(change(identity, wanted, STRANGERS))).details).toEqual({ field: 'password' });
    await change(identity, wanted);
    const tokens = [(await mailbox.next(email)).token, (await mailbox.next(wanted)).token];
    if (order === 'new first') tokens.reverse();
    if (order === 'both at once') {
      const answers = await Promise.all(tokens.map(confirm));
      expect(answers.filter(({ changed }) => changed)).toHaveLength(1);
    } else {
      expect(await confirm(tokens[0]!)).toEqual({ changed: false });
      await expect(login(email)).resolves.toBeDefined();
      expect(await codeOf(confirm(tokens[0]!))).toBe('LINK_INVALID');
      expect(await confirm(tokens[1]!)).toEqual({ changed: true });
    }
    expect(await codeOf(login(email))).toBe('INVALID_CREDENTIALS');
    expect(claimsOf((await login(wanted)).access_token).sub).toBe(identity.subject);
    expect((await mailbox.next(email)).subject).toContain('another address');
  });

  test('answers alike for an address that somebody has, who is told, and nothing changes', async () => {
    const [user, other] = [await verified(), await verified()];
    await change(user.identity, other.email);
    expect((await mailbox.next(other.email)).token).toBe('');
    expect(await confirm((await mailbox.next(user.email)).token)).toEqual({ changed: false });
    await expect(login(other.email)).resolves.toBeDefined();
  });

  test('that is pending ends with another password, and links to the former address with the change', async () => {
    const user = await verified();
    const wanted = newEmail();
    await change(user.identity, wanted);
    const [old, fresh] = [await mailbox.next(user.email), await mailbox.next(wanted)];
    await account('RequestPasswordReset', { email: user.email });
    const reset = await mailbox.next(user.email);
    await confirm(old.token);
    await confirm(fresh.token);
    expect(await codeOf(account('ResetPassword', { token: reset.token, password: STRANGERS }))).toBe('LINK_INVALID');
    const third = newEmail();
    await mailbox.next(user.email);
    await change(user.identity, third);
    const pending = [(await mailbox.next(wanted)).token, (await mailbox.next(third)).token];
    await account('ChangePassword', { current_password: PASSWORD, new_password: STRANGERS }, user.identity);
    for (const token of pending) expect(await codeOf(confirm(token))).toBe('LINK_INVALID');
  });
});
