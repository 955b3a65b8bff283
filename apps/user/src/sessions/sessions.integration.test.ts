import type { userV1 } from '@sluice/contract';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { claimsOf, failure, identityOf, signIn, UserSystem, type SessionTokens } from '../replicas.fixture.js';

let system: UserSystem;

beforeAll(async () => {
  system = await UserSystem.start(2);
});
afterAll(() => system?.stop());

const refresh = (refresh_token: string, replica = 0) =>
  system.replica(replica).call<SessionTokens>('UserService/Refresh', { refresh_token });
const refusal = async (refresh_token: string) => (await failure(refresh(refresh_token))).code;

/** Lets the session look as if everything in it had happened earlier. */
const age = (sessionId: string, column: string, seconds: number) =>
  system.sql(`update sessions set ${column} = ${column} - $2 * interval '1 second' where id = $1`, [
    sessionId,
    seconds,
  ]);

describe('refresh', () => {
  test('fifty at once of one token, over two replicas, give one successor', async () => {
    const { tokens } = await signIn(system.first);
    const answers = await Promise.all(Array.from({ length: 50 }, (_, index) => refresh(tokens.refresh_token, index)));
    const successors = new Set(answers.map((answer) => answer.refresh_token));
    expect(successors.size).toBe(1);
    expect(successors.has(tokens.refresh_token)).toBe(false);
    await expect(refresh([...successors][0] as string)).resolves.toBeDefined();
  });

  test('whoever lost the answer gets the same successor again, while the grace counted from the rotation lasts', async () => {
    const { tokens } = await signIn(system.first);
    const { refresh_token: successor } = await refresh(tokens.refresh_token);
    for (let half = 0; half < 2; half++) {
      expect((await refresh(tokens.refresh_token, half)).refresh_token).toBe(successor);
      await age(tokens.session_id, 'rotated_at', 4.9);
    }
    await age(tokens.session_id, 'rotated_at', 0.3);
    expect(await refusal(tokens.refresh_token)).toBe('INVALID_GRANT');
    expect(await refusal(successor)).toBe('INVALID_GRANT');
  });

  test('of a session of another tenant than the call is for is refused, and costs the session nothing', async () => {
    const { tokens } = await signIn(system.first);
    const { refresh_token } = tokens;
    const at = (tenant: string) =>
      system.first.call<userV1.TokenResponse>('UserService/Refresh', { refresh_token }, { tenant });
    expect(await failure(at('acme'))).toMatchObject({
      code: 'TENANT_MISMATCH',
      details: { tenants: ['default', 'acme'] },
    });
    const grant = { grant_type: 'refresh_token', refresh_token, tenant: 'acme' };
    expect((await failure(system.first.call('OAuthService/Token', grant))).code).toBe('TENANT_MISMATCH');
    await expect(at('default')).resolves.toBeDefined();
  });

  test('a token two generations old ends the session', async () => {
    const { tokens } = await signIn(system.first);
    const second = await refresh(tokens.refresh_token);
    const third = await refresh(second.refresh_token);
    expect(await refusal(tokens.refresh_token)).toBe('INVALID_GRANT');
    expect(await refusal(third.refresh_token)).toBe('INVALID_GRANT');
    const [row] = await system.sql('select revoked_because from sessions where id = $1', [tokens.session_id]);
    expect(row).toEqual({ revoked_because: 'refresh-reuse' });
  });

  test('no changed character, no access token and no empty text is taken', async () => {
    const { tokens } = await signIn(system.first);
    const token = tokens.refresh_token;
    for (const at of [4, 20, 26, 30, 60, token.length - 1]) {
      const other = token[at] === 'A' ? 'B' : 'A';
      expect(await refusal(token.slice(0, at) + other + token.slice(at + 1))).toBe('INVALID_GRANT');
    }
    expect(await refusal(tokens.access_token)).toBe('INVALID_GRANT');
    expect(await refusal('')).toBe('INVALID_GRANT');
    await expect(refresh(token)).resolves.toBeDefined();
  });

  test('ends with the idle limit and never extends the absolute one', async () => {
    const idle = await signIn(system.first);
    await age(idle.tokens.session_id, 'idle_until', 14 * 86_400);
    expect(await refusal(idle.tokens.refresh_token)).toBe('INVALID_GRANT');

    const old = await signIn(system.first);
    await system.sql(`update sessions set absolute_until = clock_timestamp() + interval '60 s' where id = $1`, [
      old.tokens.session_id,
    ]);
    const { access_token, refresh_token } = await refresh(old.tokens.refresh_token);
    const [row] = await system.sql<{ ends: number }>(
      'select extract(epoch from absolute_until)::float8 as ends from sessions where id = $1 and idle_until = absolute_until',
      [old.tokens.session_id],
    );
    expect(claimsOf(access_token)['exp']).toBeLessThanOrEqual(row?.ends ?? 0);
    await age(old.tokens.session_id, 'idle_until', 60);
    expect(await refusal(refresh_token)).toBe('INVALID_GRANT');
  });

  test('is limited by session: told how long to wait, and the wait suffices; other sessions are not touched', async () => {
    const { tokens } = await signIn(system.first);
    let latest = tokens.refresh_token;
    for (let rotation = 0; rotation < 60; rotation++) latest = (await refresh(latest, rotation)).refresh_token;
    // As if the sixty had taken no time at all.
    await system.sql(`update sessions set refresh_due = clock_timestamp() + interval '60 s' where id = $1`, [
      tokens.session_id,
    ]);
    const refused = await failure(refresh(latest));
    expect(refused).toMatchObject({
      code: 'RATE_LIMIT_EXCEEDED',
      details: { blocked_by: 'user', limit: 60, window_seconds: 60 },
    });
    const waitMs = refused.details['retry_after_ms'] as number;
    expect(waitMs).toBeLessThanOrEqual(1000);
    await age(tokens.session_id, 'refresh_due', waitMs / 1000);
    await expect(refresh(latest)).resolves.toBeDefined();
    const other = await signIn(system.first);
    await expect(refresh(other.tokens.refresh_token)).resolves.toBeDefined();
  });

  test('is refused to a locked user', async () => {
    const { tokens, user } = await signIn(system.first);
    await system.sql('update users set locked_at = now() where id = $1', [user.id]);
    expect(await refusal(tokens.refresh_token)).toBe('INVALID_GRANT');
  });
});

describe('logout', () => {
  test('beside fifty refreshes leaves nothing that works, and a second one succeeds', async () => {
    const { tokens, identity } = await signIn(system.first);
    const refreshes = Array.from({ length: 50 }, (_, index) =>
      refresh(tokens.refresh_token, index).catch(() => undefined),
    );
    const logout = () => system.replica(1).call('UserService/Logout', {}, identity);
    await logout();
    const answers = await Promise.all(refreshes);
    for (const token of new Set([tokens.refresh_token, ...answers.flatMap((answer) => answer?.refresh_token ?? [])])) {
      expect(await refusal(token)).toBe('INVALID_GRANT');
    }
    await expect(logout()).resolves.toEqual({});
  });

  test('everywhere ends every session of the user and of nobody else', async () => {
    const one = await signIn(system.first);
    const other = await signIn(system.first);
    const { email, password } = one;
    const second = await system.first.call<SessionTokens>('UserService/Login', { email, password });
    await system.first.call('UserService/Logout', { everywhere: true }, one.identity);
    expect(await refusal(one.tokens.refresh_token)).toBe('INVALID_GRANT');
    expect(await refusal(second.refresh_token)).toBe('INVALID_GRANT');
    await expect(refresh(other.tokens.refresh_token)).resolves.toBeDefined();
  });

  test('everywhere is no longer for the token of a session that has ended', async () => {
    const { email, password, identity } = await signIn(system.first);
    await system.first.call('UserService/Logout', {}, identity);
    const { refresh_token } = await system.first.call<SessionTokens>('UserService/Login', { email, password });
    await expect(system.first.call('UserService/Logout', { everywhere: true }, identity)).resolves.toEqual({});
    await expect(refresh(refresh_token)).resolves.toBeDefined();
  });

  test('everywhere ends a session, too, that was idle for too long but has an access token that lives', async () => {
    const { email, password, identity, tokens } = await signIn(system.first);
    await system.sql(`update sessions set idle_until = now() - interval '1 s' where id = $1`, [tokens.session_id]);
    await system.first.call<SessionTokens>('UserService/Login', { email, password });
    await system.first.call('UserService/Logout', { everywhere: true }, identity);
    const rows = await system.sql(`select 1 from sessions where id = $1 and revoked_at is not null`, [
      tokens.session_id,
    ]);
    expect(rows).toHaveLength(1);
  });
});

test.each([
  ['0', 600, 600],
  ['50', 300, 600],
])('with a jitter of %s % a token lives between %i and %i seconds', async (percent, least, most) => {
  const replica = await UserSystem.join(system, {
    ACCESS_TOKEN_SECONDS: '600',
    ACCESS_TOKEN_JITTER_PERCENT: percent,
    REFRESH_PER_MINUTE: '1000',
  });
  let { tokens } = await signIn(replica);
  const lifetimes = [tokens.expires_in];
  for (let round = 0; round < 20; round++) {
    const { refresh_token } = tokens;
    tokens = await replica.call<SessionTokens>('UserService/Refresh', { refresh_token });
    lifetimes.push(tokens.expires_in);
  }
  await replica.stop();
  expect(Math.min(...lifetimes)).toBeGreaterThanOrEqual(least);
  expect(Math.max(...lifetimes)).toBeLessThanOrEqual(most);
  // Twenty draws out of 301 that are all alike come once in 10^47.
  expect(new Set(lifetimes).size > 1).toBe(percent !== '0');
});

describe('own sessions', () => {
  test('are listed with their device, and one can be ended', async () => {
    const { email, password, identity, tokens } = await signIn(system.first);
    const second = await system.first.call<SessionTokens>('UserService/Login', {
      email,
      password,
      device: 'phone',
    });
    const list = async () =>
      (await system.first.call<userV1.ListSessionsResponse>('UserService/ListSessions', {}, identity)).sessions;
    expect((await list()).map(({ id, device, current }) => ({ id, device, current }))).toEqual([
      { id: second.session_id, device: 'phone', current: false },
      { id: tokens.session_id, device: '', current: true },
    ]);
    const end = (session_id: string, by = identity) =>
      system.first.call('UserService/RevokeSession', { session_id }, by);
    await end(second.session_id);
    await end(second.session_id);
    expect(await list()).toHaveLength(1);
    expect(await refusal(second.refresh_token)).toBe('INVALID_GRANT');
    expect((await failure(end('not-a-session'))).code).toBe('NOT_FOUND');
    const stranger = await signIn(system.first);
    expect((await failure(end(tokens.session_id, stranger.identity))).code).toBe('NOT_FOUND');
    const elsewhere = { ...identity, tenant: 'other' };
    expect((await failure(end(tokens.session_id, elsewhere))).code).toBe('NOT_FOUND');
  });
});

test('a login beyond the number of sessions of a user ends the oldest', async () => {
  const few = await UserSystem.join(system, { SESSIONS_PER_USER: '2' });
  const { email, password, tokens, user } = await signIn(system.first);
  for (let login = 0; login < 2; login++) await few.call('UserService/Login', { email, password });
  await few.stop();
  expect(await refusal(tokens.refresh_token)).toBe('INVALID_GRANT');
  const alive = await system.sql('select from sessions where user_id = $1 and revoked_at is null', [user.id]);
  expect(alive).toHaveLength(2);
});

describe('the refresh cookie', () => {
  const origin = 'http://localhost:8083';

  test('works for a page of an allowed origin alone', async () => {
    const { email, password } = await signIn(system.first);
    const login = { email, password, cookie: true };
    expect((await failure(system.first.call('UserService/Login', login))).code).toBe('ORIGIN_REFUSED');
    const answer = await system.first.call<SessionTokens>('UserService/Login', login, { origin });
    expect(answer.refresh_token).toBe('');
    const [session] = await system.sql<{ id: string }>('select id from sessions where id = $1', [answer.session_id]);
    expect(session).toBeDefined();

    const { tokens } = await signIn(system.first);
    const cookie = `a=b; __Secure-sluice-refresh=${tokens.refresh_token}`;
    const byCookie = (identity: object) => system.first.call<SessionTokens>('UserService/Refresh', {}, identity);
    for (const refused of [{ cookie }, { cookie, origin: 'null' }, { cookie, origin: 'https://evil.example' }]) {
      expect((await failure(byCookie(refused))).code).toBe('ORIGIN_REFUSED');
    }
    expect((await failure(byCookie({ origin }))).code).toBe('INVALID_GRANT');
    const refreshed = await byCookie({ cookie, origin });
    expect(refreshed.refresh_token).toBe('');
    expect(refreshed.access_token).not.toBe('');
  });

  test('that is dead is cleared; over TLS its name is bound to the host, and the former one is taken', async () => {
    const origin = 'https://sluice.example';
    const replica = await UserSystem.join(system, { TOKEN_ISSUER: origin });
    const { email, password, tokens } = await signIn(replica);
    const login = await replica.answer('UserService/Login', { email, password, cookie: true }, { origin });
    expect(login.cookies).toEqual([expect.stringMatching(/^__Host-sluice-refresh=srt_.*; Path=\/; HttpOnly; Secure/)]);
    const former = { cookie: `__Secure-sluice-refresh=${tokens.refresh_token}`, origin };
    const moved = await replica.answer('UserService/Refresh', {}, former);
    expect(moved.cookies).toEqual([expect.stringMatching(/^__Host-sluice-refresh=srt_/)]);
    await replica.call('UserService/Logout', {}, identityOf(tokens.access_token));
    const both = { ...former, cookie: `${moved.cookies[0]!.split(';')[0]}; ${former.cookie}` };
    const dead = await replica.answer('UserService/Refresh', {}, both);
    expect(dead.code).toBe('INVALID_GRANT');
    expect(dead.cookies.map((cookie) => cookie.split('; ').slice(0, 2))).toEqual([
      ['__Host-sluice-refresh=', 'Max-Age=0'],
      ['__Secure-sluice-refresh=', 'Max-Age=0'],
    ]);
    await replica.stop();
  });
});

describe('the audit log', () => {
  const eventsOf = (userId: string) =>
    system.sql<{ action: string; outcome: string; session_id: string }>(
      `select action, outcome, session_id from audit_events where subject = $1 and action like 'session.%' order by id`,
      [userId],
    );

  test('has refreshes that were refused, and sessions that were ended for being too many', async () => {
    const few = await UserSystem.join(system, { SESSIONS_PER_USER: '2', REFRESH_PER_MINUTE: '1' });
    const { email, password, user, tokens } = await signIn(few);
    const { refresh_token } = await few.call<SessionTokens>('UserService/Refresh', {
      refresh_token: tokens.refresh_token,
    });
    expect((await failure(few.call('UserService/Refresh', { refresh_token }))).code).toBe('RATE_LIMIT_EXCEEDED');
    for (let login = 0; login < 2; login++) await few.call('UserService/Login', { email, password });
    expect((await failure(few.call('UserService/Refresh', { refresh_token }))).code).toBe('INVALID_GRANT');
    const session_id = tokens.session_id;
    expect(await eventsOf(user.id)).toEqual([
      { action: 'session.refresh', outcome: 'too-often', session_id },
      { action: 'session.revoke', outcome: 'too-many', session_id },
      { action: 'session.refresh', outcome: 'ended', session_id },
    ]);
    await few.stop();
  });
});
