import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { startEchoServer, type EchoServer } from '../../testdata/echo-server.js';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';
import { startIssuer, type TestIssuer } from '../../testdata/issuer.js';

let echo: EchoServer;
let issuer: TestIssuer;
let gateway: TestGateway;
beforeAll(async () => {
  [echo, issuer] = [await startEchoServer(), await startIssuer()];
  gateway = await startTestGateway(`127.0.0.1:${echo.port}`, {
    auth: issuer.auth,
    upstream: { access: [{ selector: '*', verified_email: true }] },
  });
  await vi.waitFor(() => expect(gateway.runtime.verifier!.ready()).toBe(true));
});
afterAll(async () => {
  await gateway?.stop();
  issuer?.stop();
  echo?.stop();
});

it('a method that spends is closed to tokens that say the address is not verified, and to no others', async () => {
  const ask = async (claims: Record<string, unknown>) => {
    const headers = { authorization: `Bearer ${issuer.token(claims)}` };
    const answer = await fetch(`${gateway.origin}/v1/metadata`, { headers });
    return [answer.status, ((await answer.json()) as { code?: string }).code];
  };
  expect(await ask({ email_verified: false })).toEqual([403, 'EMAIL_NOT_VERIFIED']);
  expect(await ask({ email_verified: true })).toEqual([200, undefined]);
  expect(await ask({})).toEqual([200, undefined]);
});
