import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type EchoServer, startEchoServer } from '../../testdata/echo-server.js';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';
import { open, parseAnswers } from '../../testdata/raw-http1.js';
import { fieldBlock, fieldLines, frame, PREFACE, RawHttp2, Type } from '../../testdata/raw-http2.js';

let echo: EchoServer;
let gateway: TestGateway;
beforeAll(async () => {
  echo = await startEchoServer();
  gateway = await startTestGateway(`127.0.0.1:${echo.port}`, {
    timeouts: { headers: '600ms', request: '700ms', idle: '800ms', settings: '500ms', send: '600ms' },
  });
});
afterAll(async () => {
  await gateway?.stop();
  echo?.stop();
});

/** How often a limit of the listener was hit so far. */
async function hits(limit: string): Promise<number> {
  const { values } = await gateway.metrics.getSingleMetric('gateway_listener_limit_hits_total')!.get();
  return values.find(({ labels }) => labels['limit'] === limit)?.value ?? 0;
}

/** The gateway still serves others, at once. */
async function stillServes() {
  const answer = await fetch(`${gateway.origin}/v1/echo/ann`, { signal: AbortSignal.timeout(2000) });
  expect(answer.status).toBe(200);
}

const request = (path: string, method = 'GET'): [string, string][] => [
  [':method', method],
  [':scheme', 'http'],
  [':path', path],
  [':authority', 'localhost'],
];
const every = (ms: number, work: () => void) => {
  const timer = setInterval(work, ms);
  return () => clearInterval(timer);
};

describe('slow clients on HTTP/1.1', () => {
  it('that say nothing', async () => {
    const before = await hits('first_byte_timeout');
    expect((await open(gateway.port).read()).length).toBe(0);
    expect(await hits('first_byte_timeout')).toBe(before + 1);
  });

  it('that send their header fields byte by byte', async () => {
    const before = await hits('headers_timeout');
    const { socket, read } = open(gateway.port);
    let sent = 0;
    const stop = every(50, () => socket.write('GET /v1/echo/ann HTTP/1.1\r\nHost: localhost\r\nX-A: b'[sent++ % 40]!));
    const [answer] = parseAnswers(await read());
    stop();
    expect(answer).toMatchObject({ status: 408 });
    expect(await hits('headers_timeout')).toBe(before + 1);
  });

  it('that send empty lines without end', async () => {
    const { socket, read } = open(gateway.port);
    const stop = every(50, () => socket.write('\r\n'));
    const began = performance.now();
    await read(3000);
    stop();
    expect(performance.now() - began).toBeLessThan(3000);
  });

  it('that send their body byte by byte', async () => {
    const { socket, read } = open(gateway.port);
    socket.write('POST /v1/echo/ann HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{');
    const stop = every(50, () => socket.write(' '));
    const [answer] = parseAnswers(await read());
    stop();
    expect(answer).toMatchObject({ status: 408, complete: true });
    expect(answer!.fields).toContainEqual(['connection', 'close']);
  });

  it('whose deadline ends before their body', async () => {
    const { socket, read } = open(gateway.port);
    socket.write('POST /v1/echo/ann HTTP/1.1\r\nHost: a\r\nX-Request-Timeout: 200ms\r\nContent-Length: 1000\r\n\r\n{');
    const [answer] = parseAnswers(await read());
    expect(answer).toMatchObject({ status: 504 });
  });

  it('that stay after their answer without a word', async () => {
    const { socket, read } = open(gateway.port);
    socket.write('GET /v1/echo/ann HTTP/1.1\r\nHost: a\r\n\r\n');
    expect(parseAnswers(await read())).toHaveLength(1);
  });

  it('that never read', async () => {
    const before = await hits('slow_reader');
    const { socket } = open(gateway.port);
    socket.pause();
    socket.write('GET /v1/count/2000?size=100000 HTTP/1.1\r\nHost: a\r\n\r\n');
    await expect.poll(() => hits('slow_reader'), { timeout: 10_000 }).toBe(before + 1);
    await expect.poll(() => gateway.runtime.inFlight.calls).toBe(0);
    socket.destroy();
  });
});

describe('slow clients on HTTP/2', () => {
  it('that begin the preface and stop', async () => {
    for (const part of [2, 3, 20, PREFACE.length]) {
      const peer = RawHttp2.open(gateway.port, false);
      peer.send(PREFACE.subarray(0, part));
      expect(await peer.ended(), `after ${part} octets`).toBe(true);
    }
  });

  it('that never acknowledge SETTINGS', async () => {
    const before = await hits('settings_timeout');
    const peer = RawHttp2.open(gateway.port, false);
    peer.send(PREFACE, frame(Type.SETTINGS, 0, 0));
    expect(await peer.ended()).toBe(true);
    expect(await hits('settings_timeout')).toBe(before + 1);
    const metric = await gateway.metrics.getSingleMetric('http2_server_settings_timeout_total')!.get();
    expect(metric.values[0]!.value).toBeGreaterThan(0);
  });

  it('that acknowledge SETTINGS at once get theirs acknowledged at once', async () => {
    const peer = RawHttp2.open(gateway.port);
    expect(await peer.find(({ type, flags }) => type === Type.SETTINGS && flags === 1, 400)).toBeDefined();
    peer.close();
  });

  it('that send their body octet by octet', async () => {
    const peer = RawHttp2.open(gateway.port);
    peer.headers(1, request('/v1/echo/ann', 'POST'), false);
    const stop = every(50, () => peer.send(frame(Type.DATA, 0, 1, Buffer.from(' '))));
    const { body } = await peer.answer(1);
    stop();
    expect(JSON.parse(body)).toMatchObject({ status: 408 });
    peer.close();
  });

  it('whose deadline ends before their body', async () => {
    const peer = RawHttp2.open(gateway.port);
    peer.headers(1, [...request('/v1/echo/ann', 'POST'), ['x-request-timeout', '200ms']], false);
    expect(JSON.parse((await peer.answer(1)).body)).toMatchObject({ status: 504 });
    peer.close();
  });

  it('that do nothing any more are told to go', async () => {
    const peer = RawHttp2.open(gateway.port);
    peer.headers(1, request('/v1/echo/ann'), true);
    await peer.answer(1);
    expect(await peer.ended()).toBe(true);
    expect(peer.frames.some(({ type }) => type === Type.GOAWAY)).toBe(true);
  });

  it('that give no window', async () => {
    const before = await hits('slow_reader');
    const peer = RawHttp2.open(gateway.port);
    const stop = every(100, () => peer.send(frame(Type.PING, 0, 0, Buffer.alloc(8))));
    peer.headers(1, request('/v1/count/2000?size=100000'), true);
    await expect.poll(() => hits('slow_reader'), { timeout: 10_000 }).toBeGreaterThan(before);
    await expect.poll(() => gateway.runtime.inFlight.calls).toBe(0);
    stop();
    peer.close();
  });
});

/** One part of a header block that never ends. */
const piece = (index: number, lines: Buffer) =>
  index === 0
    ? frame(Type.HEADERS, 1, 1, Buffer.concat([fieldBlock([]), lines]))
    : frame(Type.CONTINUATION, 0, 1, lines);

describe('floods on HTTP/2', () => {
  it.each<[string, (index: number) => Buffer]>([
    ['SETTINGS', () => frame(Type.SETTINGS, 0, 0)],
    ['PING', () => frame(Type.PING, 0, 0, Buffer.alloc(8))],
    [
      'requests that are reset at once',
      (index) => {
        const id = index * 2 + 1;
        const code = Buffer.from([0, 0, 0, 8]);
        return Buffer.concat([frame(Type.HEADERS, 5, id, fieldBlock(request('/v1/hang'))), frame(3, 0, id, code)]);
      },
    ],
    [
      'requests that a wrong frame makes the gateway reset',
      (index) => {
        const id = index * 2 + 1;
        const none = frame(Type.WINDOW_UPDATE, 0, id, Buffer.alloc(4));
        return Buffer.concat([frame(Type.HEADERS, 5, id, fieldBlock(request('/v1/hang'))), none]);
      },
    ],
    ['CONTINUATION without an end', (index) => piece(index, Buffer.concat(fieldLines([['a', 'b']])))],
    [
      'empty DATA',
      (index) => (index === 0 ? frame(1, 4, 1, fieldBlock(request('/v1/echo/a', 'POST'))) : frame(0, 0, 1)),
    ],
    [
      'a header list of a megabyte',
      (index) => piece(index, index > 80 ? Buffer.alloc(0) : Buffer.concat(fieldLines([['a', 'b'.repeat(16_000)]]))),
    ],
  ])('%s: the connection or the stream ends, and nobody else notices', async (_, one) => {
    const peer = RawHttp2.open(gateway.port);
    for (let index = 0; index < 3000 && !peer.closed; index++) {
      peer.send(one(index));
      if (index % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await stillServes();
    expect(await peer.ended()).toBe(true);
    await expect.poll(() => gateway.runtime.inFlight.calls).toBe(0);
    await expect.poll(() => echo.hanging()).toBe(0);
  });
});

it('counts connections down to none', async () => {
  await expect.poll(() => gateway.listener.connections(), { timeout: 10_000 }).toBeLessThan(2);
});
