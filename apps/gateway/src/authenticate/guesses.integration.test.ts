import { generateKeyPairSync, sign } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { startEchoServer, type EchoServer } from '../../testdata/echo-server.js';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';

const GUESSES = 5;
const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');

function token(key = own, expiresIn = 60): string {
  const claims = { sub: 'ann', sid: crypto.randomUUID(), exp: Math.floor(Date.now() / 1000) + expiresIn };
  const signed = `${part({ alg: 'ES256', kid: '1', typ: 'at+jwt' })}.${part(claims)}`;
  const signature = sign('sha256', Buffer.from(signed), { key: key.privateKey, dsaEncoding: 'ieee-p1363' });
  return `${signed}.${signature.toString('base64url')}`;
}

let echo: EchoServer;
let keys: Server;
let gateway: TestGateway;
beforeAll(async () => {
  echo = await startEchoServer();
  const jwk = { ...own.publicKey.export({ format: 'jwk' }), kid: '1', alg: 'ES256', use: 'sig' };
  keys = createServer((_, response) => response.end(JSON.stringify({ keys: [jwk] }))).listen(0, '127.0.0.1');
  await once(keys, 'listening');
});
beforeEach(async () => {
  gateway = await startTestGateway(`127.0.0.1:${echo.port}`, {
    auth: { mode: 'jwt', keys: { jwks_url: `http://127.0.0.1:${(keys.address() as AddressInfo).port}/` } },
    // In an hour none comes back while the test runs.
    limits: { guess_guard: { limit: GUESSES, window: '1h' } },
  });
  return () => gateway.stop();
});
afterAll(() => {
  keys?.close();
  echo?.stop();
});

const call = async (bearer: string) => {
  const answer = await fetch(`${gateway.origin}/v1/metadata`, { headers: { authorization: `Bearer ${bearer}` } });
  return { status: answer.status, headers: answer.headers, body: (await answer.json()) as Record<string, unknown> };
};
const statuses = async (bearers: string[]) => {
  const seen = [];
  for (const bearer of bearers) seen.push((await call(bearer)).status);
  return seen;
};
const many = (count: number, make: () => string) => Array.from({ length: count }, make);

it('who made up too many tokens has no more signatures checked; a token that is known still works', async () => {
  const known = token();
  expect(await statuses([known])).toEqual([200]);
  expect(await statuses(many(GUESSES, () => token(stranger)))).toEqual(Array(GUESSES).fill(401));
  const before = gateway.runtime.verifier!.stats();
  const refused = await call(token(stranger));
  expect(refused).toMatchObject({
    status: 429,
    body: { code: 'RATE_LIMIT_EXCEEDED', details: { blocked_by: 'ip', policy: 'guess-guard' } },
  });
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  // Even a good one would have to be checked first.
  expect(await statuses([token(), token(stranger)])).toEqual([429, 429]);
  expect(gateway.runtime.verifier!.stats()).toEqual(before);
  expect(await statuses([known, token(own, -1)])).toEqual([200, 401]);
});

it('the same made-up token again counts too', async () => {
  const one = token(stranger);
  expect(await statuses([...many(GUESSES, () => one), one])).toEqual([...Array(GUESSES).fill(401), 429]);
});

it('what is no token at all counts too', async () => {
  expect(await statuses(many(GUESSES + 1, () => 'guess'))).toEqual([...Array(GUESSES).fill(401), 429]);
});

it('good new tokens and expired ones cost no guess', async () => {
  expect(await statuses(many(3 * GUESSES, () => token()))).toEqual(Array(3 * GUESSES).fill(200));
  const expired = await call(token(own, -1));
  expect(expired).toMatchObject({ status: 401, body: { code: 'TOKEN_EXPIRED' } });
  expect(expired.headers.get('www-authenticate')).toBe('Bearer realm="sluice", error="invalid_token"');
  expect(await statuses(many(3 * GUESSES, () => token(own, -1)))).toEqual(Array(3 * GUESSES).fill(401));
  expect(await statuses(many(GUESSES, () => token(stranger)))).toEqual(Array(GUESSES).fill(401));
});
