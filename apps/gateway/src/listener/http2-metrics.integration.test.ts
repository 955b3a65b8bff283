import { afterAll, beforeAll, expect, it } from 'vitest';
import { type EchoServer, startEchoServer } from '../../testdata/echo-server.js';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';
import { frame, PREFACE, RawHttp2, Type } from '../../testdata/raw-http2.js';

let echo: EchoServer;
let gateway: TestGateway;
beforeAll(async () => {
  echo = await startEchoServer();
  gateway = await startTestGateway(`127.0.0.1:${echo.port}`, { timeouts: { settings: '2s' } });
});
afterAll(async () => {
  await gateway?.stop();
  echo?.stop();
});

/** The series of a metric with these labels, in all. */
async function total(name: string, labels: Record<string, string> = {}): Promise<number> {
  const { values } = await gateway.metrics.getSingleMetric(name.replace(/_(count|sum|bucket)$/, ''))!.get();
  const fits = (value: { labels: object; metricName?: string }) =>
    (value.metricName ?? name) === name &&
    Object.entries(labels).every(([key, text]) => String((value.labels as Record<string, unknown>)[key]) === text);
  return values.filter(fits).reduce((sum, { value }) => sum + value, 0);
}
const number = (value: number) => {
  const octets = Buffer.alloc(4);
  octets.writeUInt32BE(value);
  return octets;
};
const acks = (peer: RawHttp2) => peer.find(({ type, flags }) => type === Type.SETTINGS && flags === 1);

it('how long SETTINGS of clients wait is measured, with the time in which the event loop was busy', async () => {
  const peer = RawHttp2.open(gateway.port, false);
  peer.send(PREFACE, frame(Type.SETTINGS, 0, 0), frame(Type.SETTINGS, 1, 0));
  expect(await acks(peer)).toBeDefined();
  await expect.poll(() => total('http2_server_settings_ack_seconds_count')).toBe(1);
  expect(await total('http2_server_settings_timeout_total', { side: 'server' })).toBe(0);

  // The octets are on their way when the loop gets busy, and wait until it is not.
  peer.send(frame(Type.SETTINGS, 0, 0));
  await new Promise((resolve) => peer.socket.write('', resolve));
  const until = performance.now() + 1300;
  while (performance.now() < until);
  await expect.poll(() => total('http2_server_settings_ack_seconds_count')).toBe(2);
  expect(await total('http2_server_settings_ack_seconds_sum')).toBeGreaterThan(1);
  expect(await total('http2_server_settings_timeout_total', { side: 'server' })).toBe(1);
  peer.close();
});

it('clients that do not acknowledge ours are counted on their side', async () => {
  const before = await total('http2_server_settings_timeout_total', { side: 'client' });
  const peer = RawHttp2.open(gateway.port, false);
  peer.send(PREFACE, frame(Type.SETTINGS, 0, 0));
  expect(await peer.ended()).toBe(true);
  expect(await total('http2_server_settings_timeout_total', { side: 'client' })).toBe(before + 1);
  expect(
    await total('http2_goaway_total', { peer: 'client', direction: 'sent', code: 'SETTINGS_TIMEOUT' }),
  ).toBeGreaterThan(0);
});

it('RST_STREAM and GOAWAY are counted by direction and code, made-up codes as one', async () => {
  const hang = { ':method': 'GET', ':path': '/v1/hang', ':scheme': 'http', ':authority': 'a' };
  const received = (code: string) => total('http2_rst_stream_total', { peer: 'client', direction: 'received', code });
  const peer = RawHttp2.open(gateway.port);
  for (const [index, code] of [8, 0x1234_5678, 0xffff_ffff].entries()) {
    peer.headers(2 * index + 1, Object.entries(hang), true);
    peer.send(frame(Type.RST_STREAM, 0, 2 * index + 1, number(code)));
  }
  await expect.poll(() => received('CANCEL')).toBe(1);
  expect(await received('other')).toBe(2);
  peer.send(frame(Type.GOAWAY, 0, 0, Buffer.concat([number(0), number(11)])));
  const goaways = (direction: string, code: string) => total('http2_goaway_total', { peer: 'client', direction, code });
  await expect.poll(() => goaways('received', 'ENHANCE_YOUR_CALM')).toBe(1);
  expect(await peer.ended()).toBe(true);

  const other = RawHttp2.open(gateway.port);
  other.headers(1, [[':method', 'GET']], true);
  await expect.poll(() => total('http2_rst_stream_total', { direction: 'sent', code: 'PROTOCOL_ERROR' })).toBe(1);
  other.close();
});

it('those to services have the name of the upstream', async () => {
  const client = new AbortController();
  const call = fetch(`${gateway.origin}/v1/hang`, { signal: client.signal });
  await expect.poll(() => gateway.runtime.upstreams[0]!.channel.stats.streams).toBe(1);
  client.abort();
  await expect(call).rejects.toThrow('aborted');
  const sent = { peer: 'upstream', upstream: 'echo', direction: 'sent', code: 'CANCEL' };
  await expect.poll(() => total('http2_rst_stream_total', sent)).toBe(1);
});
