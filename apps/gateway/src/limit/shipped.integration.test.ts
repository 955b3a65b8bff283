import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { startEchoServer, type EchoServer } from '../../testdata/echo-server.js';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';
import { startIssuer, type TestIssuer } from '../../testdata/issuer.js';
import { readGatewayFile } from '../config/gateway-file.js';

let echo: EchoServer;
let issuer: TestIssuer;
let gateway: TestGateway;
beforeAll(async () => {
  [echo, issuer] = [await startEchoServer(), await startIssuer()];
  const { limits } = readGatewayFile(fileURLToPath(new URL('../../../../config/gateway.yaml', import.meta.url)));
  // Those on messages as they are shipped, but for a method that is served here.
  const policies = limits.policies
    .filter(({ match }) => match.rpcs?.includes('sluice.postcard.v1.PostcardService.SendMessage'))
    .map(({ name, dimensions, algorithm, limit, window }) => ({
      ...{ name, dimensions, algorithm, limit, window: `${window}ms` },
      match: { rpcs: ['echo.v1.EchoService.Metadata'] },
    }));
  expect(policies.map(({ name }) => name)).toEqual(['messages', 'messages-user']);
  gateway = await startTestGateway(`127.0.0.1:${echo.port}`, {
    auth: issuer.auth,
    limits: { policies },
    trusted_proxies: ['127.0.0.1'],
  });
  await vi.waitFor(() => expect(gateway.runtime.verifier!.ready()).toBe(true));
});
afterAll(async () => {
  await gateway?.stop();
  issuer?.stop();
  echo?.stop();
});

/** What becomes of messages of one user from one address: how many pass, and what blocks the next. */
async function sent(count: number, sub: string, address: string): Promise<[number, string | undefined]> {
  const headers = { authorization: `Bearer ${issuer.token({ sub })}`, 'x-forwarded-for': address };
  let passed = 0;
  let blockedBy: string | undefined;
  for (let call = 0; call < count; call++) {
    const answer = await fetch(`${gateway.origin}/v1/metadata`, { headers });
    if (answer.status === 200) passed += 1;
    blockedBy = ((await answer.json()) as { details?: { blocked_by: string } }).details?.blocked_by ?? blockedBy;
  }
  return [passed, blockedBy];
}

it('messages are limited by address, whoever sends them, and by user, from wherever', async () => {
  expect(await sent(20, 'ann', '192.0.2.1')).toEqual([20, undefined]);
  // The address has ten left for whoever is there.
  expect(await sent(12, 'bob', '192.0.2.1')).toEqual([10, 'ip']);
  // Ann has ten left wherever she is.
  expect(await sent(12, 'ann', '192.0.2.2')).toEqual([10, 'user']);
  expect(await sent(5, 'bob', '192.0.2.3')).toEqual([5, undefined]);
});
