import { createHmac, generateKeyPairSync, randomUUID, sign, type KeyObject } from 'node:crypto';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { startSystem, type TestSystem } from '@sluice/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Mailbox } from '../apps/user/testdata/mailbox.js';
import { client, type Answer, type Client } from './client.js';

const root = fileURLToPath(new URL('..', import.meta.url));
let system: TestSystem;
let api: Client;
let mailbox: Mailbox;

beforeAll(async () => {
  mailbox = await Mailbox.start();
  system = await startSystem({
    replicas: { user: 2 },
    env: { RATE_LIMIT_ENABLED: 'false', PASSWORD_MEMORY_KIB: '64', KEY_PUBLISH_SECONDS: '0', SMTP_URL: mailbox.url },
  });
  api = client(system.baseUrl);
});
afterAll(async () => {
  await system?.stop();
  await mailbox?.stop();
});

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const me = (token: string) => api.call('GET', '/api/v1/me', undefined, bearer(token));
const refresh = (refresh_token: string) => api.call('POST', '/api/v1/auth/refresh', { refresh_token });
const decode = (part: string) => JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, unknown>;
const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

describe('access tokens of a stranger', () => {
  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const signed = (header: object, claims: object, key: KeyObject = own.privateKey) => {
    const text = `${encode(header)}.${encode(claims)}`;
    return `${text}.${sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
  };

  test('are refused, whatever their header says, and the keys are hardly fetched for them', async () => {
    const session = await api.signIn();
    expect((await me(session.accessToken)).status).toBe(200);
    const [rawHeader, rawClaims, signature] = session.accessToken.split('.') as [string, string, string];
    const header = decode(rawHeader);
    const claims = decode(rawClaims);
    const jwks = await (await fetch(`${system.baseUrl}/.well-known/jwks.json`)).text();
    const jwk = own.publicKey.export({ format: 'jwk' });
    const hs256 = `${encode({ ...header, alg: 'HS256' })}.${rawClaims}`;
    const forged = [
      ...['none', 'None', 'nOnE'].flatMap((alg) => [
        `${encode({ ...header, alg })}.${rawClaims}.`,
        `${encode({ ...header, alg })}.${rawClaims}.${signature}`,
      ]),
      `${hs256}.${createHmac('sha256', jwks).update(hs256).digest('base64url')}`,
      signed(header, claims),
      signed({ ...header, jwk }, claims),
      signed({ ...header, jku: 'http://127.0.0.1:9/jwks.json' }, claims),
      signed({ ...header, x5u: 'http://127.0.0.1:9/cert.pem' }, claims),
      signed({ ...header, crit: ['exp'] }, claims),
      ...Array.from({ length: 100 }, () => signed({ ...header, kid: randomUUID() }, claims)),
      signed({ ...header, kid: '../../etc/passwd' }, claims),
      signed({ ...header, kid: "x' or '1'='1" }, claims),
      `${rawHeader}.${encode({ ...claims, roles: ['admin'] })}.${signature}`,
      `${rawHeader}.${encode({ ...claims, tid: 'other' })}.${signature}`,
      `${rawHeader}.${rawClaims}.`,
      `${rawHeader}.${rawClaims}.${signature.slice(0, -1)}${signature.endsWith('A') ? 'B' : 'A'}`,
      session.refreshToken,
    ];
    for (const token of forged) {
      const { status } = await me(token);
      expect([400, 401], token).toContain(status);
    }
    expect((await refresh(session.accessToken)).body.code).toBe('INVALID_GRANT');
    expect((await me(session.accessToken)).status).toBe(200);
  });
});

describe('refresh', () => {
  test('fifty at once over two replicas: all 200, one successor, which works', async () => {
    const session = await api.signIn();
    const answers = await Promise.all(Array.from({ length: 50 }, () => refresh(session.refreshToken)));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    const successors = new Set(answers.map(({ body }) => body.refresh_token));
    expect(successors.size).toBe(1);
    expect(answers[0]!.headers.get('cache-control')).toBe('no-store');
    for (const answer of answers) expect((await me(answer.body.access_token)).status).toBe(200);
    expect((await refresh([...successors][0]!)).status).toBe(200);
  });

  test('a token used again two generations later kills the newest tokens within a second', async () => {
    const session = await api.signIn();
    const second = await refresh(session.refreshToken);
    const third = await refresh(second.body.refresh_token);
    expect((await me(third.body.access_token)).status).toBe(200);
    expect((await refresh(session.refreshToken)).body.code).toBe('INVALID_GRANT');
    await expect
      .poll(async () => (await me(third.body.access_token)).body.code, { interval: 20 })
      .toBe('SESSION_REVOKED');
    expect((await refresh(third.body.refresh_token)).body.code).toBe('INVALID_GRANT');
  });

  test('as a cookie: never in the answer, and only for pages of an allowed origin', async () => {
    const account = await api.register();
    const origin = { origin: 'http://localhost:8083' };
    const login = await api.call('POST', '/api/v1/auth/login', { ...account, cookie: true }, origin);
    expect(login.body.refresh_token).toBe('');
    const cookie = login.headers.get('set-cookie')!;
    expect(cookie).toMatch(/HttpOnly; Secure; SameSite=Strict/);
    const sent = { cookie: cookie.split(';')[0]! };
    const byCookie = (headers: object) => api.call('POST', '/api/v1/auth/refresh', {}, { ...sent, ...headers });
    expect((await byCookie({})).body.code).toBe('ORIGIN_REFUSED');
    expect((await byCookie({ origin: 'https://evil.example' })).body.code).toBe('ORIGIN_REFUSED');
    const refreshed = await byCookie(origin);
    expect(refreshed.status).toBe(200);
    expect(refreshed.headers.get('set-cookie')).toContain('__Secure-sluice-refresh=srt_');

    const ended = { authorization: `Bearer ${refreshed.body.access_token}` };
    await api.call('POST', '/api/v1/auth/logout', {}, ended);
    const dead = await byCookie(origin);
    expect(dead.body.code).toBe('INVALID_GRANT');
    expect(dead.headers.getSetCookie()).toContainEqual(expect.stringMatching(/^__Secure-sluice-refresh=; Max-Age=0; /));
  });
});

describe('OAuth', () => {
  const form = (path: string, fields: Record<string, string>, headers = {}) =>
    api.call('POST', path, new URLSearchParams(fields).toString(), {
      'content-type': 'application/x-www-form-urlencoded',
      ...headers,
    });
  const error = ({ status, body }: Answer) => ({ status, error: body['error'] });

  test('the grants work as form and as JSON, and their errors are those of RFC 6749', async () => {
    const session = await api.signIn();
    const request = { grant_type: 'refresh_token', refresh_token: session.refreshToken };
    const refreshed = await api.call('POST', '/oauth/token', request);
    expect(refreshed.body).toMatchObject({ token_type: 'Bearer', expires_in: expect.any(Number) });
    expect(refreshed.headers.get('cache-control')).toBe('no-store');
    expect((await me(refreshed.body.access_token)).status).toBe(200);
    const guest = await form('/oauth/token', { grant_type: 'guest', device_id: randomUUID() });
    expect((await me(guest.body.access_token)).body).toMatchObject({ guest: true });

    // The grant password is off (RFC 9700 section 2.4).
    for (const grant_type of ['implicit', 'password']) {
      const fields = { grant_type, username: 'ada@example.com', password: 'correct horse battery' };
      const refused = await form('/oauth/token', fields);
      expect(error(refused)).toEqual({ status: 400, error: 'unsupported_grant_type' });
    }
    expect(error(await form('/oauth/token', {}))).toEqual({ status: 400, error: 'invalid_request' });
    const guest_grant = { grant_type: 'guest', device_id: randomUUID() };
    expect(error(await form('/oauth/token', { ...guest_grant, scope: 'all' }))).toEqual({
      status: 400,
      error: 'invalid_scope',
    });
    const basic = `Basic ${Buffer.from('sluice:secret').toString('base64')}`;
    for (const [client, headers] of [
      [{ client_id: 'other' }, {}],
      [{ client_id: 'sluice', client_secret: 'secret' }, {}],
      [{}, { authorization: basic }],
    ] as const) {
      const unknown = await form('/oauth/token', { ...guest_grant, ...client }, headers);
      expect(error(unknown)).toEqual({ status: 401, error: 'invalid_client' });
      if (Object.hasOwn(headers, 'authorization'))
        expect(unknown.headers.get('www-authenticate')).toContain('Basic realm=');
    }
    const dead = await form('/oauth/token', { grant_type: 'refresh_token', refresh_token: 'srt_x' });
    expect(error(dead)).toEqual({ status: 400, error: 'invalid_grant' });
  });

  test('revocation ends the session, and text that is no token is no error', async () => {
    const session = await api.signIn();
    expect((await form('/oauth/revoke', { token: 'nonsense' })).status).toBe(200);
    expect((await form('/oauth/revoke', { token: session.refreshToken })).status).toBe(200);
    await expect.poll(async () => (await me(session.accessToken)).status, { interval: 20 }).toBe(401);
  });

  test('introspection needs the role; the metadata names the endpoints', async () => {
    const session = await api.signIn();
    const asked = await form('/oauth/introspect', { token: session.accessToken }, bearer(session.accessToken));
    expect(asked.status).toBe(403);
    const admin = await administrator();
    const answer = await form('/oauth/introspect', { token: session.accessToken }, bearer(admin));
    expect(answer.body).toMatchObject({ active: true, sub: decode(session.accessToken.split('.')[1]!)['sub'] });
    expect(typeof answer.body['exp']).toBe('number');
    expect(answer.body['roles']).toEqual([]);
    expect((await form('/oauth/introspect', { token: admin }, bearer(admin))).body['roles']).toEqual([
      'admin',
      'operator',
    ]);
    await form('/oauth/revoke', { token: session.refreshToken });
    for (const token of ['x', session.accessToken, session.refreshToken]) {
      expect((await form('/oauth/introspect', { token }, bearer(admin))).body).toEqual({ active: false });
    }
    const metadata = await api.call('GET', '/.well-known/oauth-authorization-server');
    expect(metadata.body).toMatchObject({ issuer: 'http://localhost:8083', grant_types_supported: expect.anything() });
  });
});

/** The settings that the user service runs with. */
function settingsOfUser(): NodeJS.ProcessEnv {
  const lines = readFileSync(`/proc/${system.process('user').pid}/environ`, 'utf8')
    .split('\0')
    // The channel to its parent is the process's own.
    .filter((line) => line !== '' && !line.startsWith('NODE_CHANNEL'));
  return Object.fromEntries(lines.map((line) => line.split(/=(.*)/s).slice(0, 2) as [string, string]));
}

/** The access token of the administrator that the first start created. */
async function administrator(): Promise<string> {
  const password = readFileSync(settingsOfUser()['ADMIN_PASSWORD_FILE']!, 'utf8').trim();
  return (await api.login({ email: 'admin@sluice.local', password })).body.access_token;
}

describe('guests', () => {
  const ask = (device_id: string, headers = {}) => api.call('POST', '/api/v1/auth/guest', { device_id }, headers);

  test('a hundred requests of one device at once get one token', async () => {
    const device = randomUUID();
    const answers = await Promise.all(Array.from({ length: 100 }, () => ask(device)));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(new Set(answers.map(({ body }) => body.access_token)).size).toBe(1);
  });

  test('a second token within a minute is refused with the wait, whatever address the client claims', async () => {
    const device = randomUUID();
    const { body } = await ask(device);
    await api.call('POST', '/api/v1/auth/logout', {}, bearer(body.access_token));
    for (const claimed of ['203.0.113.1', '203.0.113.2']) {
      const refused = await ask(device, {
        'x-forwarded-for': claimed,
        forwarded: `for=${claimed}`,
        'x-real-ip': claimed,
        'x-sluice-client-ip': claimed,
      });
      expect(refused.status).toBe(429);
      expect(refused.body['details']).toMatchObject({ blocked_by: 'user' });
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(1);
    }
  });

  test('what a device may ask for now is told by GET and POST, at both paths', async () => {
    const device_id = randomUUID();
    const { body } = await ask(device_id);
    expect(body['guest_terms']).toMatchObject({ spacing_seconds: 60, hourly: 10, daily: 50, backoff: true });
    const query = `?device_id=${device_id}`;
    const answers = [
      await api.call('GET', `/api/v1/auth/guest/limits${query}`),
      await api.call('GET', `/auth/guest/limits${query}`),
      await api.call('POST', '/api/v1/auth/guest/limits', { device_id }),
    ];
    for (const answer of answers) {
      expect(answer.status).toBe(200);
      expect(answer.body).toMatchObject({ allowed: false, live_token: true, policy: 'guest-spacing' });
    }
  });

  test('an upgrade keeps the id, twenty at once too', async () => {
    const { body } = await ask(randomUUID());
    const account = { email: `${randomUUID()}@example.com`, password: 'correct horse battery staple' };
    const answers = await Promise.all(
      Array.from({ length: 20 }, () =>
        api.call('POST', '/api/v1/auth/guest/upgrade', account, bearer(body.access_token)),
      ),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    const subs = answers.map((answer) => decode(answer.body.access_token.split('.')[1]!)['sub']);
    expect(new Set(subs)).toEqual(new Set([decode(body.access_token.split('.')[1]!)['sub']]));
    expect((await api.login(account)).status).toBe(200);
  });
});

describe('administration', () => {
  test('a locked user is out within a second, and in again after unlocking', async () => {
    const session = await api.signIn();
    const admin = await administrator();
    const { sub } = decode(session.accessToken.split('.')[1]!);
    expect((await me(session.accessToken)).status).toBe(200);
    const change = (what: string) => api.call('POST', `/api/v1/admin/users/${String(sub)}/${what}`, {}, bearer(admin));
    expect((await change('lock')).body).toMatchObject({ locked: true });
    await expect.poll(async () => (await me(session.accessToken)).status, { interval: 20 }).toBe(401);
    expect((await api.login(session.account)).status).toBe(403);
    expect((await change('unlock')).status).toBe(200);
    expect((await api.login(session.account)).status).toBe(200);
    const audit = await api.call('GET', `/api/v1/admin/audit?user_id=${String(sub)}`, undefined, bearer(admin));
    expect(JSON.stringify(audit.body)).toContain('account.lock');
    expect((await session.call('GET', '/api/v1/admin/users')).status).toBe(401);
  });

  test('keys rotate by command, and no token that is alive is refused', async () => {
    const session = await api.signIn();
    const env = settingsOfUser();
    const rotate = () =>
      promisify(execFile)(process.execPath, [join(root, 'apps/user/dist/cli/signing-keys.js'), 'rotate'], {
        cwd: root,
        env,
      });
    const kid = (token: string) => decode(token.split('.')[0]!)['kid'];
    expect((await rotate()).stdout).toContain('signs from now on');
    await expect
      .poll(async () => kid((await api.login(session.account)).body.access_token), { timeout: 10_000 })
      .not.toBe(kid(session.accessToken));
    const renewed = (await api.login(session.account)).body.access_token;
    expect((await me(renewed)).status).toBe(200);
    expect((await me(session.accessToken)).status).toBe(200);
  });
});

describe('accounts by mail', () => {
  const post = (path: string, body: object, headers: Record<string, string> = {}) =>
    api.call('POST', path, body, headers);
  const login = (email: string, password: string, tenant = '') =>
    post('/api/v1/auth/login', { email, password, tenant });
  const NEW = 'a lamp, two boats and the sea';

  test('a forgotten password is set anew from a mail, whose page is there and runs nothing else', async () => {
    const email = `forgot-${randomUUID()}@example.com`;
    await post('/api/v1/auth/register', { email, password: 'correct horse battery' });
    expect((await post('/api/v1/auth/password/forgot', { email })).status).toBe(200);
    expect((await post('/api/v1/auth/password/forgot', { email: `no-${email}` })).body).toEqual({});
    const mail = await mailbox.next(email);
    expect(mail.text).toContain(`${system.baseUrl}/account/reset#${mail.token}`);
    const page = await fetch(`${system.baseUrl}/account/reset`);
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(page.headers.get('content-security-policy')).toMatch(/^default-src 'none'; script-src 'sha256-/);
    expect(await page.text()).toContain('password/reset');
    expect((await fetch(`${system.baseUrl}/account/other`)).status).toBe(404);
    const reset = { token: mail.token, password: NEW };
    const answers = await Promise.all([1, 2, 3, 4].map(() => post('/api/v1/auth/password/reset', reset)));
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 400, 400, 400]);
    expect(answers.find(({ status }) => status === 400)!.body).toMatchObject({ code: 'LINK_INVALID' });
    expect((await login(email, 'correct horse battery')).status).toBe(401);
    expect((await login(email, NEW)).status).toBe(200);
  });

  test('an invitation into a closed tenant makes its first administrator', async () => {
    const tenant = `t${randomUUID().slice(0, 8)}`;
    const admin = bearer(await administrator());
    await post('/api/v1/admin/tenants', { id: tenant, name: 'Invited' }, admin);
    const email = `first@${tenant}.example`;
    const invited = await post('/api/v1/admin/invitations', { email, roles: ['admin'], tenant }, admin);
    expect(invited.body).toMatchObject({ email, tenant, roles: ['admin'] });
    const { token } = await mailbox.next(email);
    const accepted = await post('/api/v1/auth/invitation', { token, password: NEW, display_name: 'Ada' });
    expect(accepted.body).toMatchObject({ user: { email, tenant, roles: ['admin'], email_verified: true } });
    const own = bearer(String((await login(email, NEW, tenant)).body['access_token']));
    const { body } = await api.call('GET', '/api/v1/admin/users', undefined, own);
    expect(body['users']).toHaveLength(1);
  });

  test('an account is exported and deleted, and the gateway refuses its token within a moment', async () => {
    const email = `leaving-${randomUUID()}@example.com`;
    await post('/api/v1/auth/register', { email, password: NEW });
    const token = bearer(String((await login(email, NEW)).body['access_token']));
    const exported = await fetch(`${system.baseUrl}/api/v1/me/export`, {
      headers: { ...token, accept: 'application/x-ndjson' },
    });
    const records = (await exported.text())
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { kind: string; data: Record<string, unknown> });
    expect(records[0]).toMatchObject({ kind: 'account', data: { email } });
    expect(records.at(-1)!.kind).toBe('end');
    expect((await post('/api/v1/me/delete', { password: 'not it at all' }, token)).status).toBe(401);
    expect((await post('/api/v1/me/delete', { password: NEW }, token)).body).toHaveProperty('delete_time');
    await expect.poll(async () => (await api.call('GET', '/api/v1/me', undefined, token)).status).toBe(401);
    const refused = await login(email, NEW);
    expect(refused.body).toMatchObject({ code: 'ACCOUNT_CLOSING', details: { token: expect.stringMatching(/^slk_/) } });
    expect((await mailbox.next(email)).subject).toContain('will be deleted');
  });
});
