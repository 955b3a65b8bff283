import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { ask } from '../apps/gateway/testdata/client.js';
import { echoDescriptorSet, type EchoServer, startEchoServer } from '../apps/gateway/testdata/echo-server.js';
import { startIssuer, type TestIssuer } from '../apps/gateway/testdata/issuer.js';
import { openFolder, type StandaloneGateway, startGateway } from './standalone-gateway.js';

/** What the gateway writes of calls while it refuses a storm of others. */

interface Line {
  readonly msg: string;
  readonly time: string;
  readonly status: number;
  readonly problem?: string;
  readonly count: number;
}

const folder = openFolder();
let echo: EchoServer;
let issuer: TestIssuer;
let gateway: StandaloneGateway;
beforeAll(async () => {
  [echo, issuer] = [await startEchoServer(), await startIssuer()];
  const upstream = { name: 'echo', address: `127.0.0.1:${echo.port}`, descriptor_set: echoDescriptorSet };
  folder.write('my.yaml', JSON.stringify({ upstreams: [upstream], auth: issuer.auth }));
});
afterEach(async () => {
  await gateway?.stop();
});
afterAll(() => {
  issuer?.stop();
  echo?.stop();
  folder.remove();
});

async function startWith(settings: Record<string, string>): Promise<void> {
  gateway = await startGateway(folder.path, [], settings);
  await vi.waitFor(async () => expect((await fetch(`${gateway.adminOrigin}/readyz`)).ok).toBe(true), 10_000);
}

const expired = () => issuer.token({ exp: Math.floor(Date.now() / 1000) - 1 });
async function call(token: string, path = '/v1/metadata'): Promise<number> {
  const answer = await fetch(gateway.origin + path, { headers: { authorization: `Bearer ${token}` } });
  await answer.arrayBuffer();
  return answer.status;
}

function lines(msg: string, problem?: string): Line[] {
  const written = gateway.log().trim().split('\n');
  const all = written.map((line) => JSON.parse(line) as Line);
  return all.filter((line) => line.msg === msg && line.problem === problem);
}

const total = (counts: Line[]) => counts.reduce((sum, { count }) => sum + count, 0);

async function metric(series: string): Promise<number> {
  const page = await (await fetch(`${gateway.adminOrigin}/metrics`)).text();
  return Number(
    page
      .split('\n')
      .find((line) => line.startsWith(series))
      ?.slice(series.length) ?? 0,
  );
}

it('a storm of refusals takes so many lines a second; what else happens is written, and nothing goes uncounted', async () => {
  const perSecond = 20;
  await startWith({ ACCESS_LOG_REFUSALS_PER_SECOND: String(perSecond) });
  const began = performance.now();
  const known = issuer.token();
  const old = expired();
  for (let round = 0; round < 30; round++) {
    const storm = await Promise.all(Array.from({ length: 10 }, (_, index) => call(index === 0 ? old : expired())));
    expect(storm).toEqual(Array(10).fill(401));
    expect(await call(known)).toBe(200);
  }
  // The same refusal over gRPC, where the HTTP status is 200.
  const grpc = { 'content-type': 'application/grpc', te: 'trailers', authorization: `Bearer ${old}` };
  for (let left = 50; left > 0; left--) {
    const path = '/echo.v1.EchoService/Metadata';
    const { status, fields } = await ask(gateway.port, 'HTTP/2', { method: 'POST', path, fields: grpc });
    expect({ status, grpc: fields['grpc-status'] }).toEqual({ status: 200, grpc: '16' });
  }
  expect(await call(known, '/nowhere?api_key=hunter2')).toBe(404);
  const seconds = (performance.now() - began) / 1000;

  // A count comes while the gateway runs, not only as it stops.
  await vi.waitFor(() => expect(lines('calls not logged', 'TOKEN_EXPIRED')).not.toEqual([]), 5000);
  await vi.waitFor(() => expect(lines('call').map(({ status }) => status)).toEqual(Array(30).fill(200)));
  await vi.waitFor(() =>
    expect(lines('call', 'ROUTE_NOT_FOUND')).toEqual([
      expect.objectContaining({ status: 404, path: '/nowhere', client: '127.0.0.1', rpc: 'none' }),
    ]),
  );
  const series = 'gateway_requests_total{rpc="/echo.v1.EchoService/Metadata",form=';
  expect(await metric(`${series}"rest",status="401"}`)).toBe(300);
  const leftOut = await metric('gateway_calls_not_logged_total{problem="TOKEN_EXPIRED"}');
  await gateway.stop();

  const written = lines('call', 'TOKEN_EXPIRED').length;
  expect(written).toBeGreaterThanOrEqual(perSecond);
  expect(written).toBeLessThanOrEqual(perSecond * Math.ceil(seconds));
  const counts = lines('calls not logged', 'TOKEN_EXPIRED');
  expect({ leftOut, told: total(counts) }).toEqual({ leftOut: 350 - written, told: 350 - written });
  expect(counts.length).toBeLessThanOrEqual(Math.ceil(seconds) + 1);
  expect(gateway.log()).not.toMatch(/hunter2|eyJ/);
});

it('with none a second refusals are counted alone, and what was not told yet is told at the end', async () => {
  await startWith({ ACCESS_LOG_REFUSALS_PER_SECOND: '0' });
  for (let left = 5; left > 0; left--) expect(await call(expired())).toBe(401);
  expect(await call(issuer.token())).toBe(200);
  await gateway.stop();
  expect(lines('call', 'TOKEN_EXPIRED')).toEqual([]);
  expect(lines('call')).toHaveLength(1);
  expect(total(lines('calls not logged', 'TOKEN_EXPIRED'))).toBe(5);
  expect(gateway.log().trim().split('\n').at(-1)).toContain('"stopped"');
});

it('without an access log nothing is counted as left out of it', async () => {
  await startWith({ ACCESS_LOG: 'false', ACCESS_LOG_REFUSALS_PER_SECOND: '0' });
  expect(await call(expired())).toBe(401);
  expect(await metric('gateway_calls_not_logged_total')).toBe(0);
  await gateway.stop();
  expect(gateway.log()).not.toContain('TOKEN_EXPIRED');
});
