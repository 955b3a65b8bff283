import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { startEchoServer, type EchoServer } from '../../testdata/echo-server.js';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';
import { startIssuer, type TestIssuer } from '../../testdata/issuer.js';

let echo: EchoServer;
let issuer: TestIssuer;
let gateway: TestGateway;
beforeAll(async () => {
  [echo, issuer] = [await startEchoServer(), await startIssuer()];
  const policy = { algorithm: 'sliding_window', window: '1h' };
  gateway = await startTestGateway(`127.0.0.1:${echo.port}`, {
    auth: issuer.auth,
    limits: {
      policies: [
        { ...policy, name: 'tenants', dimensions: ['tenant'], limit: 10 },
        { ...policy, name: 'users', dimensions: ['user'], limit: 6 },
      ],
    },
  });
  await vi.waitFor(() => expect(gateway.runtime.verifier!.ready()).toBe(true));
});
afterAll(async () => {
  await gateway?.stop();
  issuer?.stop();
  echo?.stop();
});

/** What became of calls of one user: statuses and what blocked, by number. */
async function calls(count: number, tid: string, sub: string): Promise<Record<string, number>> {
  const headers = { authorization: `Bearer ${issuer.token({ tid, sub })}` };
  const seen: Record<string, number> = {};
  for (let call = 0; call < count; call++) {
    const answer = await fetch(`${gateway.origin}/v1/metadata`, { headers });
    const { details } = (await answer.json()) as { details?: { blocked_by: string } };
    const outcome = answer.status === 429 ? `429 ${details?.blocked_by}` : String(answer.status);
    seen[outcome] = (seen[outcome] ?? 0) + 1;
  }
  return seen;
}

it('one tenant’s flood leaves the other’s bucket full, and users of the same name apart', async () => {
  expect(await calls(8, 'a', 'ann')).toEqual({ 200: 6, '429 user': 2 });
  // What ann was refused cost her tenant nothing.
  expect(await calls(6, 'a', 'bob')).toEqual({ 200: 4, '429 tenant': 2 });
  expect(await calls(6, 'b', 'ann')).toEqual({ 200: 6 });
  expect(await calls(5, 'b', 'bob')).toEqual({ 200: 4, '429 tenant': 1 });
});
