import { connect, type ServerHttp2Stream } from 'node:http2';
import { afterEach, expect, it } from 'vitest';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';
import { GRPC, startScriptedUpstream } from '../../testdata/scripted-upstream.js';
import { openLoop } from '../../testdata/open-loop.js';
import { type SlowService, startSlowService } from '../../testdata/slow-service.js';

const WORKERS = 20;
/** So long that a busy machine adds little to it. */
const COST_MS = 200;
/** Calls in a second. */
const CAPACITY = (WORKERS / COST_MS) * 1000;
const IMPATIENT = { 'x-request-timeout': '2s' };

let service: SlowService | undefined;
let gateway: TestGateway | undefined;
afterEach(async () => {
  await gateway?.stop();
  service?.stop();
});

it('a service of twenty workers gives what it can at three times its capacity, and answers everybody soon afterwards', async () => {
  service = await startSlowService(WORKERS, COST_MS);
  gateway = await startTestGateway(service.address);
  const before = await openLoop(gateway.port, 0.5 * CAPACITY, 2000, IMPATIENT);
  expect(before.answered / before.sent).toBeGreaterThan(0.95);
  await openLoop(gateway.port, 3 * CAPACITY, 3000, IMPATIENT);
  const overload = await openLoop(gateway.port, 3 * CAPACITY, 3000, IMPATIENT);
  expect(overload.rate / CAPACITY).toBeGreaterThan(0.7);
  expect(overload.refused).toBeGreaterThan(overload.sent / 3);
  expect(gateway.runtime.upstreams[0]!.channel.stats.retries).toBe(0);
  await openLoop(gateway.port, 0.7 * CAPACITY, 1500, IMPATIENT);
  const after = await openLoop(gateway.port, 0.7 * CAPACITY, 2000, IMPATIENT);
  expect(after.answered / after.sent).toBeGreaterThan(0.95);
});

it('a service that stands still is told by its metrics, although its callers give up and nothing else fails', async () => {
  service = await startSlowService(WORKERS, 5);
  gateway = await startTestGateway(service.address);
  const url = `${gateway.origin}/v1/echo/a`;
  const unanswered = async () => {
    const found = gateway!.metrics.getSingleMetric('gateway_upstream_unanswered_seconds');
    const { values } = (await found!.get()) as { values: { labels: object; value: number }[] };
    return values[0]!.value;
  };
  expect((await fetch(url)).status).toBe(200);
  expect(await unanswered()).toBe(0);
  service.setCost(0);
  for (let call = 0; call < 8; call++) {
    await expect(fetch(url, { signal: AbortSignal.timeout(200) })).rejects.toThrow(/timeout/);
  }
  expect(await unanswered()).toBeGreaterThan(1);
  service.setCost(5);
  expect((await fetch(url)).status).toBe(200);
  expect(await unanswered()).toBeLessThan(1);
  await expect.poll(() => gateway!.runtime.upstreams[0]!.channel.stats.inFlight).toBe(0);
});

it('a service that answers is not called away because there is no room to ask it', async () => {
  const narrow = await startScriptedUpstream(0, { maxConcurrentStreams: 1 });
  const held: ServerHttp2Stream[] = [];
  narrow.script = (stream) => {
    if (narrow.latest[':path'] !== '/echo.v1.EchoService/Count') {
      return stream.respond({ ...GRPC, 'grpc-status': 12 }, { endStream: true });
    }
    held.push(stream);
    return stream.respond(GRPC);
  };
  gateway = await startTestGateway(narrow.address, { upstream: { connections: 1 } });
  expect((await fetch(`${gateway.origin}/v1/echo/a`)).status).toBe(501);
  const watching = fetch(`${gateway.origin}/v1/count/1`, { headers: { accept: 'application/x-ndjson' } });
  await expect.poll(() => held.length).toBe(1);
  expect(await gateway.runtime.health()).toEqual({ echo: 'SERVING' });
  held[0]!.close();
  await (await watching).text().catch(() => undefined);
  await narrow.stop();
});

it('as many calls are in flight as max_concurrent says, on as many connections as they need', async () => {
  const wide = await startScriptedUpstream(0, { maxConcurrentStreams: 100 });
  wide.script = () => undefined;
  gateway = await startTestGateway(wide.address, { upstream: { concurrency: 'fixed' } });
  const { channel } = gateway.runtime.upstreams[0]!;
  const sessions = Array.from({ length: 9 }, () => connect(gateway!.origin));
  for (const session of sessions) {
    for (let call = 0; call < 120; call++) session.request({ ':path': '/v1/echo/a' }).on('error', () => undefined);
  }
  await expect.poll(() => channel.stats).toMatchObject({ inFlight: 1000, queued: 80 });
  expect(channel.stats.connections).toBeGreaterThanOrEqual(10);
  for (const session of sessions) session.destroy();
  await expect.poll(() => channel.stats).toMatchObject({ inFlight: 0, queued: 0 });
  await wide.stop();
});
