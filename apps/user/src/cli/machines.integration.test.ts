import type { userV1 } from '@sluice/contract';
import { apiKeyDigest } from '@sluice/identity';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { claimsOf, failure, signIn, UserSystem } from '../replicas.fixture.js';
import { runBuilt } from './run-command.fixture.js';

let system: UserSystem;
beforeAll(async () => {
  system = await UserSystem.start(1);
});
afterAll(() => system?.stop());

const keys = (...parameters: string[]) => runBuilt('keys', parameters, system.environment);
const accounts = (...parameters: string[]) => runBuilt('service-accounts', parameters, system.environment);
const idIn = (out: string) => /^([0-9a-f-]{36}) /m.exec(out)![1]!;
const keyIn = (out: string) => /^slc_\w+$/m.exec(out)![0];
const secretIn = (out: string) => /^scs_\w+$/m.exec(out)![0];

async function verdict(key: string): Promise<{ state: string; subject: string; scope: string }> {
  const gateway = { subject: 'gateway', tenant: '', roles: 'gateway' };
  return system.first.call('ApiKeyVerificationService/VerifyApiKey', { digest: apiKeyDigest(key) }, gateway);
}
const token = (client_id: string, client_secret: string) =>
  system.first.call<userV1.TokenResponse>('OAuthService/Token', {
    ...{ grant_type: 'client_credentials', client_id, client_secret },
  });

test('keys are made, listed, renamed, rotated and revoked by command', async () => {
  const { email, user } = await signIn(system.first);
  const made = await keys('create', '--owner', email, '--name', 'ci', '--scope', 'read', '--network', '10.0.0.0/8');
  expect(made).toMatchObject({ code: 0, err: '' });
  const [id, first] = [idIn(made.out), keyIn(made.out)];
  expect(first).toMatch(/^slc_live_/);
  expect(made.out).toContain('networks: 10.0.0.0/8');
  expect(await verdict(first)).toMatchObject({ state: 'STATE_GOOD', subject: user.id, scope: 'read' });
  expect((await keys('list', '--owner', email)).out).toContain(`${id}  good    "ci" of ${user.id}`);
  expect((await keys('list')).out).not.toContain(first);
  expect((await keys('rename', id, 'nightly')).out).toContain('"nightly"');
  const rotated = await keys('rotate', id, '--overlap', '0');
  const second = keyIn(rotated.out);
  expect((await verdict(second)).state).toBe('STATE_GOOD');
  expect((await verdict(first)).state).not.toBe('STATE_GOOD');
  expect((await keys('revoke', id)).out).toContain('revoked');
  expect((await verdict(second)).state).toBe('STATE_REVOKED');
  expect((await keys('show', id)).out).toContain('revoked');
});

test('service accounts are made, given secrets, locked and deleted by command', async () => {
  const made = await accounts('create', 'deploy', '--role', 'service', '--scope', 'read', '--audience', 'sluice');
  expect(made).toMatchObject({ code: 0, err: '' });
  const id = idIn(made.out);
  expect(made.out).toContain('"deploy"  [service]');
  const added = await accounts('add-secret', 'deploy', '--days', '30');
  const secret = secretIn(added.out);
  const { access_token } = await token(id, secret);
  expect(claimsOf(access_token)).toMatchObject({ sub: id, roles: ['service'], scope: 'read', aud: 'sluice' });
  const second = secretIn((await accounts('add-secret', id)).out);
  expect(await accounts('add-secret', id)).toMatchObject({ code: 1, err: expect.stringContaining('remove one first') });

  const listed = (await accounts('list')).out;
  expect(listed).toContain(id);
  expect(listed).not.toContain(second);
  const secretId = new RegExp(`secret (\\S+): …${secret.slice(-4)}`).exec(listed)![1]!;
  expect((await accounts('revoke-secret', 'deploy', secretId)).out).not.toContain(secretId);
  expect((await failure(token(id, secret))).code).toBe('UNAUTHENTICATED');
  await expect(token(id, second)).resolves.toBeDefined();

  expect((await accounts('lock', 'deploy')).out).toContain('locked');
  expect((await failure(token(id, second))).code).toBe('UNAUTHENTICATED');
  expect((await accounts('unlock', 'deploy')).out).not.toContain('locked');
  expect((await accounts('set-grants', 'deploy', '--role', 'other')).out).toContain('[other]');
  expect(claimsOf((await token(id, second)).access_token)).toMatchObject({ roles: ['other'] });

  const key = keyIn((await keys('create', '--owner', id, '--name', 'of a program', '--test')).out);
  expect(await verdict(key)).toMatchObject({ state: 'STATE_GOOD', subject: id });
  expect((await accounts('delete', 'deploy')).out).toBe(`${id} is deleted\n`);
  expect((await verdict(key)).state).not.toBe('STATE_GOOD');
  const actors = await system.sql<{ actor: string }>(
    `select distinct actor from audit_events where action like 'service-account.%'`,
  );
  expect(actors).toEqual([{ actor: 'command-line' }]);
});

test('mistakes are told, with what to type', async () => {
  const unknown = await accounts('lock', 'nobody');
  expect(unknown).toMatchObject({ code: 1, err: expect.stringContaining('no service account nobody') });
  for (const wrong of [[], ['lock'], ['list', 'x'], ['revoke-secret', 'x'], ['create', 'x', 'y']]) {
    expect(await accounts(...wrong)).toMatchObject({
      code: 64,
      err: expect.stringContaining('npm run service-accounts'),
    });
  }
  for (const wrong of [[], ['revoke'], ['create', '--name', 'x'], ['list', '--colour']]) {
    expect(await keys(...wrong)).toMatchObject({ code: 64, err: expect.stringContaining('Usage: npm run keys') });
  }
  const stranger = await keys('create', '--owner', 'nobody@example.com', '--name', 'x');
  expect(stranger).toMatchObject({ code: 1, err: expect.stringContaining('nobody@example.com') });
  // What signing keys had as `npm run keys` before there were API keys.
  expect(await keys('rotate', '--now')).toMatchObject({
    code: 64,
    err: expect.stringContaining('npm run signing-keys -- rotate --now'),
  });
});
