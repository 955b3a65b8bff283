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
    tenants: { tiers: { vip: ['acme'] }, busiest: 1 },
    limits: { policies: [{ ...policy, name: 'tenants', dimensions: ['tenant'], limit: 6 }] },
  });
  await vi.waitFor(() => expect(gateway.runtime.verifier!.ready()).toBe(true));
});
afterAll(async () => {
  await gateway?.stop();
  issuer?.stop();
  echo?.stop();
});

it('counts calls by tier and tenant, whatever protocol they come by', async () => {
  const headers = (tid: string) => ({ authorization: `Bearer ${issuer.token({ tid, sub: 'ann' })}` });
  const get = async (tid: string, path: string) => {
    const answer = await fetch(`${gateway.origin}${path}`, { headers: headers(tid) });
    await answer.text();
    return answer.status;
  };
  for (let call = 0; call < 3; call++) expect(await get('acme', '/v1/metadata')).toBe(200);
  expect(await get('acme', '/v1/fail-unary/14')).toBe(503);
  // gRPC-Web says 200 whatever became of it.
  const overGrpc = await fetch(`${gateway.origin}/echo.v1.EchoService/FailUnary`, {
    method: 'POST',
    headers: { ...headers('acme'), 'content-type': 'application/grpc-web+proto' },
    body: Uint8Array.from([0, 0, 0, 0, 2, 0x08, 14]),
  });
  expect(overGrpc.status).toBe(200);
  await overGrpc.text();
  expect(await get('acme', '/v1/count/2')).toBe(200);
  expect(await get('acme', '/v1/metadata')).toBe(429);
  for (const tid of ['first', 'second', 'third']) expect(await get(tid, '/v1/metadata')).toBe(200);
  // Without a token that counts it is nobody's.
  expect((await fetch(`${gateway.origin}/v1/metadata`, { headers: { 'x-tenant-id': 'acme' } })).status).toBe(401);

  const text = await gateway.metrics.metrics();
  const of = (labels: string) => Number(new RegExp(`^gateway_tenant_\\w+{${labels}} (\\d+)$`, 'm').exec(text)?.[1]);
  const counts = (tier: string, tenant: string) =>
    ['served', 'failed', 'refused', 'left'].map((outcome) =>
      of(`tier="${tier}",tenant="${tenant}",outcome="${outcome}"`),
    );
  expect(counts('vip', 'acme')).toEqual([4, 2, 1, 0]);
  expect(counts('standard', 'first')).toEqual([1, 0, 0, 0]);
  expect(counts('standard', 'other')).toEqual([2, 0, 0, 0]);
  expect(text).not.toContain('tenant="second"');
  expect(text).toContain('gateway_tenant_request_seconds_count{tier="vip",tenant="acme"} 5');
});
