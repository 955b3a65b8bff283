import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { startEchoServer, type EchoServer } from '../../testdata/echo-server.js';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';
import { startIssuer, type TestIssuer } from '../../testdata/issuer.js';

const GUESSES = 5;

let echo: EchoServer;
let issuer: TestIssuer;
let gateway: TestGateway;
beforeAll(async () => {
  [echo, issuer] = [await startEchoServer(), await startIssuer()];
});
beforeEach(async () => {
  gateway = await startTestGateway(`127.0.0.1:${echo.port}`, {
    auth: issuer.auth,
    // In an hour none comes back while the test runs.
    limits: { guess_guard: { limit: GUESSES, window: '1h' } },
  });
  await vi.waitFor(() => expect(gateway.runtime.verifier!.ready()).toBe(true));
  return () => gateway.stop();
});
afterAll(() => {
  issuer?.stop();
  echo?.stop();
});

const token = () => issuer.token();
const forged = () => issuer.token({}, true);
const expired = () => issuer.token({ exp: Math.floor(Date.now() / 1000) - 1 });
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
  expect(await statuses(many(GUESSES, forged))).toEqual(Array(GUESSES).fill(401));
  const before = gateway.runtime.verifier!.stats();
  const refused = await call(forged());
  expect(refused).toMatchObject({
    status: 429,
    body: { code: 'RATE_LIMIT_EXCEEDED', details: { blocked_by: 'ip', policy: 'guess-guard' } },
  });
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  // Even a good one would have to be checked first.
  expect(await statuses([token(), forged()])).toEqual([429, 429]);
  expect(gateway.runtime.verifier!.stats()).toEqual(before);
  expect(await statuses([known, expired()])).toEqual([200, 401]);
});

it('the same made-up token again counts too', async () => {
  const one = forged();
  expect(await statuses([...many(GUESSES, () => one), one])).toEqual([...Array(GUESSES).fill(401), 429]);
});

it('what is no token at all is answered as any that is wrong, and why', async () => {
  const answer = await call('invalid-token');
  expect(answer).toMatchObject({ status: 401, body: { code: 'TOKEN_INVALID' } });
  expect(answer.headers.get('www-authenticate')).toBe(
    'Bearer realm="sluice", error="invalid_token", error_description="The access token is not a signed JWT."',
  );
});

it('what is no token at all counts too', async () => {
  expect(await statuses(many(GUESSES + 1, () => 'guess'))).toEqual([...Array(GUESSES).fill(401), 429]);
});

it('good new tokens and expired ones cost no guess', async () => {
  expect(await statuses(many(3 * GUESSES, token))).toEqual(Array(3 * GUESSES).fill(200));
  const answer = await call(expired());
  expect(answer).toMatchObject({ status: 401, body: { code: 'TOKEN_EXPIRED' } });
  expect(answer.headers.get('www-authenticate')).toBe(
    'Bearer realm="sluice", error="invalid_token", error_description="The access token has expired."',
  );
  expect(await statuses(many(3 * GUESSES, expired))).toEqual(Array(3 * GUESSES).fill(401));
  expect(await statuses(many(GUESSES, forged))).toEqual(Array(GUESSES).fill(401));
});

it('an answer that was made ready says what the first one said, but for the trace and the request’s id', async () => {
  const answers = [];
  const one = expired();
  for (let time = 0; time < 4; time++) answers.push(await call(one));
  const own = new Set(['date', 'x-request-id']);
  const fields = answers.map(({ headers }) => Object.fromEntries([...headers].filter(([name]) => !own.has(name))));
  for (const [index, { status, body }] of answers.entries()) {
    const { trace_id: traceId, ...rest } = body;
    expect({ status, rest, fields: fields[index] }).toEqual({
      status: 401,
      rest: {
        type: 'https://sluice.dev/problems/token-expired',
        title: 'The access token has expired',
        status: 401,
        code: 'TOKEN_EXPIRED',
        detail: 'The access token has expired.',
        grpc_status: 'UNAUTHENTICATED',
      },
      fields: fields[0],
    });
    expect(traceId).toMatch(/^(?!0{32})[0-9a-f]{32}$/);
  }
  expect(new Set(answers.map(({ body }) => body['trace_id'])).size).toBe(4);
});
