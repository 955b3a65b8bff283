import { createHmac } from 'node:crypto';
import type { Problem } from '@sluice/problem';
import { expect, test, vi } from 'vitest';
import { createVerifier, type Caller, type TokenVerifier, type VerifierOptions } from './index.js';
import { encode, keySet, signToken, testKey } from './issuer.fixture.js';

const NOW = Date.parse('2026-11-22T12:00:00Z');
const seconds = NOW / 1000;
const key = testKey('key-1');
const claims = {
  iss: 'https://issuer.example',
  aud: 'sluice',
  sub: 'user-1',
  sid: 'session-1',
  tid: 'default',
  roles: ['user'],
  scope: 'read',
  iat: seconds,
  exp: seconds + 900,
};

function verifierOf(options: Partial<VerifierOptions> = {}) {
  const keys = vi.fn<VerifierOptions['keys']>(options.keys ?? (async () => keySet(key)));
  const verifier = createVerifier({
    issuer: 'https://issuer.example',
    audience: 'sluice',
    typ: 'at+jwt',
    ...options,
    keys,
  });
  return { verifier, keys };
}

async function refusal(verifier: TokenVerifier, token: string, now = NOW): Promise<string> {
  try {
    await verifier.verify(token, now);
  } catch (problem) {
    return (problem as Problem).code;
  }
  return 'accepted';
}

test('a good token gives its caller, and the second time at once', async () => {
  const { verifier, keys } = verifierOf();
  const token = signToken(key, claims);
  const expected: Caller = {
    subject: 'user-1',
    tenant: 'default',
    session: 'session-1',
    roles: ['user'],
    scope: 'read',
    guest: false,
    account: '',
    expiresAtMs: NOW + 900_000,
  };
  await expect(verifier.verify(token, NOW)).resolves.toEqual(expected);
  expect(verifier.verify(token, NOW)).toEqual(expected);
  expect(keys).toHaveBeenCalledTimes(1);
});

test('the same new token many times at once is verified once', async () => {
  const { verifier } = verifierOf();
  const token = signToken(key, claims);
  await Promise.all(Array.from({ length: 20 }, () => verifier.verify(token, NOW)));
  expect(verifier.stats()).toMatchObject({ verified: 1, keyFetches: 1 });
});

const pem = key.publicKey.export({ format: 'pem', type: 'spki' });
const hmacToken = (secret: string | Buffer) => {
  const signed = `${encode({ alg: 'HS256', typ: 'at+jwt', kid: 'key-1' })}.${encode(claims)}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
};
const attacker = testKey('key-1');
const unsigned = (alg: string) => `${encode({ alg, typ: 'at+jwt', kid: 'key-1' })}.${encode(claims)}.`;
const withClaims = (changes: object, dropped: string[] = []) => {
  const changed: Record<string, unknown> = { ...claims, ...changes };
  for (const name of dropped) delete changed[name];
  return signToken(key, changed);
};

/** JSON.parse makes infinity of it. */
const endless = Buffer.from(JSON.stringify({ ...claims, exp: 0 }).replace('"exp":0', '"exp":1e999')).toString(
  'base64url',
);

test.each([
  ['alg none', unsigned('none')],
  ['alg None', unsigned('None')],
  ['alg nOnE with a signature', signToken(key, claims, { alg: 'nOnE' })],
  ['HS256 keyed with the public key as PEM', hmacToken(pem)],
  ['HS256 keyed with the public key as JWK', hmacToken(JSON.stringify(key.jwk))],
  ['an algorithm that is not allowed', signToken(testKey('key-1', 'EdDSA'), claims)],
  ['a key of the attacker in jwk', signToken(attacker, claims, { jwk: attacker.jwk })],
  ['a key of the attacker at jku', signToken(attacker, claims, { jku: 'https://attacker.example/jwks.json' })],
  ['a key of the attacker at x5u', signToken(attacker, claims, { x5u: 'https://attacker.example/cert.pem' })],
  ['an unknown critical extension', signToken(key, claims, { crit: ['exp'] })],
  ['an unencoded payload', signToken(key, claims, { b64: false })],
  ['a key id that is a path', signToken(key, claims, { kid: '../../../../dev/null' })],
  ['a key id that is SQL', signToken(key, claims, { kid: "' or 1=1 --" })],
  ['a key id of 10 KB', signToken(key, claims, { kid: 'k'.repeat(10_240) })],
  ['a key id that is a number', signToken(key, claims, { kid: 1 })],
  ['no signature', unsigned('ES256')],
  ['no exp', withClaims({}, ['exp'])],
  ['exp as text', withClaims({ exp: String(seconds + 900) })],
  ['exp beyond all numbers', signToken(key, claims).replace(/\.[^.]+\./, `.${endless}.`)],
  ['nbf in the future', withClaims({ nbf: seconds + 60 })],
  ['iat in the future', withClaims({ iat: seconds + 60 })],
  ['iat as text', withClaims({ iat: 'now' })],
  ['another audience', withClaims({ aud: 'other' })],
  ['no audience', withClaims({}, ['aud'])],
  ['another issuer', withClaims({ iss: 'https://issuer.example/' })],
  ['another type', signToken(key, claims, { typ: 'JWT' })],
  ['no type', signToken(key, claims, { typ: undefined })],
  ['no subject', withClaims({}, ['sub'])],
  ['a subject with a line break', withClaims({ sub: 'user\r\nx-admin: 1' })],
  ['a refresh token', `srt_${'A'.repeat(70)}`],
  ['two parts', 'e30.e30'],
  ['four parts', `${signToken(key, claims)}.x`],
  ['a text of 9 KB', 'a'.repeat(9216)],
  ['no JSON', `${Buffer.from('{').toString('base64url')}.${encode(claims)}.AAAA`],
])('%s is refused', async (_name, token) => {
  const { verifier, keys } = verifierOf();
  await verifier.verify(signToken(key, claims), NOW);
  expect(await refusal(verifier, token)).toBe('TOKEN_INVALID');
  expect(await refusal(verifier, token)).toBe('TOKEN_INVALID');
  expect(keys).toHaveBeenCalledTimes(1);
});

test('any changed character is refused', async () => {
  const { verifier } = verifierOf();
  const token = signToken(key, claims);
  await verifier.verify(token, NOW);
  for (let at = 0; at < token.length; at++) {
    const other = token[at] === 'A' ? 'B' : 'A';
    const changed = token.slice(0, at) + other + token.slice(at + 1);
    expect(await refusal(verifier, changed), `character ${at}`).not.toBe('accepted');
  }
});

test('an expired token is refused by its time alone, known or not', async () => {
  const { verifier, keys } = verifierOf();
  const token = signToken(key, claims);
  expect(await refusal(verifier, token, NOW + 900_000)).toBe('TOKEN_EXPIRED');
  expect(await refusal(verifier, `${unsigned('none')}AAAA`, NOW + 900_000)).toBe('TOKEN_EXPIRED');
  expect(keys.mock.calls.length).toBeLessThanOrEqual(1);
  const other = signToken(key, { ...claims, jti: 'other' });
  await verifier.verify(other, NOW);
  expect(await refusal(verifier, other, NOW + 899_999)).toBe('accepted');
  expect(await refusal(verifier, other, NOW + 900_000)).toBe('TOKEN_EXPIRED');
});

test('a thousand unknown keys cost one fetch per cool-down', async () => {
  const { verifier, keys } = verifierOf({ keyCoolDownMs: 10_000 });
  await verifier.verify(signToken(key, claims), NOW);
  const later = NOW + 20_000;
  const tokens = Array.from({ length: 1000 }, (_, index) => signToken(attacker, claims, { kid: `unknown-${index}` }));
  for (const token of tokens) expect(await refusal(verifier, token, later)).toBe('TOKEN_INVALID');
  expect(keys).toHaveBeenCalledTimes(2);
});

test('a key that appears is found at once, also by a token that was refused before', async () => {
  const next = testKey('key-2');
  let published = keySet(key);
  const { verifier } = verifierOf({ keys: async () => published, keyCoolDownMs: 10_000 });
  await verifier.verify(signToken(key, claims), NOW);
  const token = signToken(next, claims);
  const other = signToken(next, { ...claims, jti: 'other' });
  expect(await refusal(verifier, token, NOW + 1)).toBe('TOKEN_INVALID');
  expect(await refusal(verifier, other, NOW + 2)).toBe('TOKEN_INVALID');
  published = keySet(key, next);
  expect(await refusal(verifier, token, NOW + 10_001)).toBe('accepted');
  expect(await refusal(verifier, other, NOW + 10_002)).toBe('accepted');
});

test('a token that was refused before its key was published is looked at again when the cool-down is over', async () => {
  const next = testKey('key-2');
  let published = keySet(key);
  const { verifier, keys } = verifierOf({ keys: async () => published, keyCoolDownMs: 10_000 });
  await verifier.verify(signToken(key, claims), NOW);
  const token = signToken(next, claims);
  expect(await refusal(verifier, token, NOW + 20_000)).toBe('TOKEN_INVALID');
  published = keySet(key, next);
  expect(await refusal(verifier, token, NOW + 29_999)).toBe('TOKEN_INVALID');
  expect(keys).toHaveBeenCalledTimes(2);
  expect(await refusal(verifier, token, NOW + 30_000)).toBe('accepted');
  expect(keys).toHaveBeenCalledTimes(3);
});

test.each([
  ['no key', []],
  ['a key that lacks a coordinate', [{ ...key.jwk, y: undefined }]],
  ['a key with a point that is not on its curve', [{ ...key.jwk, x: key.jwk['y'] }]],
  ['a symmetric key alone', [{ kty: 'oct', k: 'AAAA', kid: 'key-1', alg: 'HS256' }]],
])('a set of %s withdraws nothing, and the next one is asked for after the cool-down', async (_, broken) => {
  const next = testKey('key-2');
  let published = keySet(key);
  const missed = vi.fn<(error: unknown) => void>();
  const { verifier, keys } = verifierOf({ keys: async () => published, keyCoolDownMs: 10_000, onKeysMissed: missed });
  const token = signToken(key, claims);
  await verifier.verify(token, NOW);
  published = { keys: broken };
  for (const [atMs, fetches] of [
    [60_001, 2],
    [70_001, 3],
  ] as const) {
    expect(await refusal(verifier, token, NOW + atMs)).toBe('accepted');
    await vi.waitFor(() => expect(missed).toHaveBeenCalledTimes(fetches - 1));
    expect(await refusal(verifier, token, NOW + atMs + 1)).toBe('accepted');
    expect(keys).toHaveBeenCalledTimes(fetches);
  }
  published = keySet(next);
  expect(await refusal(verifier, signToken(next, claims), NOW + 80_002)).toBe('accepted');
  expect(await refusal(verifier, token, NOW + 80_003)).toBe('TOKEN_INVALID');
});

test('tokens of a withdrawn key stop working within the maximum age of the set', async () => {
  const next = testKey('key-2');
  let published = keySet(key, next);
  const { verifier } = verifierOf({ keys: async () => published, keyMaxAgeMs: 60_000 });
  const token = signToken(key, claims);
  await verifier.verify(token, NOW);
  published = keySet(next);
  expect(await refusal(verifier, token, NOW + 60_001)).toBe('accepted');
  await vi.waitFor(() => expect(verifier.stats().keyFetches).toBe(2));
  expect(await refusal(verifier, token, NOW + 60_002)).toBe('TOKEN_INVALID');
});

test('keys that cannot be had are UNAVAILABLE, not the token’s fault, and known keys go on working', async () => {
  const failing = verifierOf({ keys: () => Promise.reject(new Error('no route')) });
  expect(await refusal(failing.verifier, signToken(key, claims))).toBe('UNAVAILABLE');
  expect(await refusal(failing.verifier, signToken(key, claims), NOW + 1)).toBe('UNAVAILABLE');
  expect(failing.keys).toHaveBeenCalledTimes(1);

  let broken = false;
  const { verifier } = verifierOf({
    keys: () => (broken ? Promise.reject(new Error()) : Promise.resolve(keySet(key))),
  });
  await verifier.verify(signToken(key, claims), NOW);
  broken = true;
  expect(await refusal(verifier, signToken(key, { ...claims, jti: 'x' }), NOW + 120_000)).toBe('accepted');
});

test('a fetch that is too slow for the call is UNAVAILABLE and serves the next one', async () => {
  let arrive: (() => void) | undefined;
  const { verifier } = verifierOf({
    keys: () => new Promise((resolve) => (arrive = () => resolve(keySet(key)))),
    keyWaitMs: 5,
  });
  const token = signToken(key, claims);
  expect(await refusal(verifier, token)).toBe('UNAVAILABLE');
  arrive?.();
  await vi.waitFor(async () => expect(await refusal(verifier, token)).toBe('accepted'));
});

test('a revoked session is refused at once, until its tokens have expired anyway', async () => {
  const { verifier } = verifierOf();
  const token = signToken(key, claims);
  await verifier.verify(token, NOW);
  verifier.revoke('session-1', NOW + 1000);
  expect(await refusal(verifier, token)).toBe('SESSION_REVOKED');
  expect(await refusal(verifier, signToken(key, { ...claims, jti: 'new' }))).toBe('SESSION_REVOKED');
  expect(await verifier.verify(token, NOW, true)).toMatchObject({ subject: 'user-1' });
  expect(await refusal(verifier, token, NOW + 1000)).toBe('accepted');
});

test('the cache is bounded', async () => {
  const { verifier } = verifierOf({ cacheSize: 10 });
  for (let index = 0; index < 50; index++) await verifier.verify(signToken(key, { ...claims, jti: `${index}` }), NOW);
  for (let index = 0; index < 50; index++) await refusal(verifier, signToken(attacker, { ...claims, jti: `${index}` }));
  expect(verifier.stats().cacheEntries).toBeLessThanOrEqual(14);
});

test('a thousand clients that come back at once with new tokens are all let in', async () => {
  const { verifier } = verifierOf();
  const tokens = Array.from({ length: 1000 }, (_, index) => signToken(key, { ...claims, jti: String(index) }));
  const codes = await Promise.all(tokens.map((token) => refusal(verifier, token)));
  expect(new Set(codes)).toEqual(new Set(['accepted']));
});

test('more new tokens at once than can be checked are refused with a time to come back', async () => {
  const { verifier } = verifierOf({ concurrencyMax: 2 });
  const tokens = [1, 2, 3].map((index) => signToken(key, { ...claims, jti: String(index) }));
  const codes = await Promise.all(tokens.map((token) => refusal(verifier, token)));
  expect(codes).toEqual(['accepted', 'accepted', 'OVERLOADED']);
});

test.each(['RS256', 'PS256', 'EdDSA', 'ES256'] as const)('a foreign issuer that signs with %s', async (alg) => {
  const foreign = testKey('theirs', alg);
  const { verifier } = verifierOf({
    keys: async () => keySet(key, foreign),
    algorithms: [alg],
    typ: undefined,
    defaultTenant: 'acme',
    claims: { roles: 'realm_access.roles', tenant: 'org', session: 'session_state' },
  });
  const token = signToken(
    foreign,
    { ...claims, tid: 'ignored', realm_access: { roles: ['editor', 'bad,admin', 'gateway'] } },
    { typ: 'JWT' },
  );
  await expect(verifier.verify(token, NOW)).resolves.toMatchObject({ tenant: 'acme', session: '', roles: ['editor'] });
});

test('a token without a key id needs a set with exactly one key that fits', async () => {
  const token = signToken(key, claims, { kid: undefined });
  expect(await refusal(verifierOf().verifier, token)).toBe('accepted');
  const two = verifierOf({ keys: async () => keySet(testKey('other'), key) });
  expect(await refusal(two.verifier, token)).toBe('TOKEN_INVALID');
});

test('symmetric and encryption keys of a set are never used', async () => {
  const set = {
    keys: [{ kty: 'oct', k: 'AAAA', kid: 'key-1', alg: 'HS256' }, { ...key.jwk, use: 'enc' }, testKey('key-2').jwk],
  };
  const { verifier } = verifierOf({ keys: async () => set });
  expect(await refusal(verifier, signToken(key, claims))).toBe('TOKEN_INVALID');
});
