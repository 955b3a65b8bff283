import { connect as connectHttp2, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import { connect as connectTcp, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type EchoServer, startEchoServer } from '../../testdata/echo-server.js';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';

/**
 * What all clients together make the gateway hold, with bounds so small that a few connections exceed them. The attackers come from
 * 127.0.0.1 and never finish; beside them somebody honest at 127.0.0.2 is never refused.
 */
const MIB = 1024 ** 2;
const BOUNDS = { total: 64 * MIB, per_address: 8 * MIB, per_connection: 4 * MIB };
/** What is complete and what is not may each take up a bound. */
const ADDRESS = 2 * BOUNDS.per_address;
/** What has left the window of a connection before it is told to wait (1 MiB), and a window for each of its streams. */
const OVERSHOOT = 2 * MIB;

/** What an answer that waits has taken: a window of its stream, and the first part of its message. */
const PAUSED = 200_000;

let echo: EchoServer;
let gateway: TestGateway;
let peak: number;
let watch: NodeJS.Timeout;
const opened: (ClientHttp2Session | Socket)[] = [];

beforeAll(async () => {
  echo = await startEchoServer();
});
afterAll(() => echo?.stop());
beforeEach(async () => {
  gateway = await startTestGateway(`127.0.0.1:${echo.port}`, {
    upstream: { max_message: '4MiB', max_body: { 'echo.v1.EchoService.Hang': '64KiB' } },
    memory: BOUNDS,
    sizes: { body: MIB },
    trusted_proxies: ['127.0.0.3'],
    timeouts: { memory: '400ms', send: '1s', request: '20s' },
  });
  peak = 0;
  watch = setInterval(() => (peak = Math.max(peak, memory().held)), 2);
});
afterEach(async () => {
  clearInterval(watch);
  for (const each of opened.splice(0)) each.destroy();
  await expect.poll(() => gateway.listener.connections()).toBe(0);
  // Nothing of what was counted is forgotten, nor counted twice.
  await expect.poll(() => memory().held).toBe(0);
  expect(memory().below.size).toBe(0);
  await gateway.stop();
});

const memory = () => gateway.runtime.clients.memory;

async function refusals(reason: string): Promise<number> {
  const { values } = await gateway.metrics.getSingleMetric('gateway_memory_refusals_total')!.get();
  return values.find(({ labels }) => labels['reason'] === reason)!.value;
}

function tcp(localAddress: string): Socket {
  const socket = connectTcp({ port: gateway.port, host: '127.0.0.1', localAddress, noDelay: true });
  opened.push(socket.on('error', () => undefined));
  return socket;
}

function http2(localAddress: string): ClientHttp2Session {
  const session = connectHttp2(gateway.origin, { createConnection: () => tcp(localAddress), maxSessionMemory: 1000 });
  opened.push(session.on('error', () => undefined));
  return session;
}

/** The status of an answer whose body is read and thrown away; 0 when the stream was reset. */
function statusOf(stream: ClientHttp2Stream): Promise<number> {
  return new Promise((resolve) => {
    let status = 0;
    stream.on('response', (fields) => (status = fields[':status']!));
    stream.on('error', () => undefined).on('close', () => resolve(status));
    stream.resume();
  });
}

const POST = (path: string, more: Record<string, string> = {}) => ({
  ':method': 'POST',
  ':path': path,
  'content-type': 'application/json',
  ...more,
});
const text = (octets: number) => JSON.stringify({ text: 'x'.repeat(octets) });

/** Small calls, and a body that is too large for the part of memory that is kept for small ones, one after the other. */
async function honest(calls: number): Promise<Set<number>> {
  const session = http2('127.0.0.2');
  const seen = new Set<number>();
  for (let call = 0; call < calls; call++) {
    const stream = session.request(POST('/v1/echo/ann'));
    stream.end(text(call % 5 === 4 ? 700_000 : 100));
    seen.add(await statusOf(stream));
  }
  session.close();
  return seen;
}

/** Streams whose bodies begin and never end. */
function unfinished(session: ClientHttp2Session, fields: Record<string, string>, chunk: Buffer): ClientHttp2Stream[] {
  return Array.from({ length: 100 }, () => {
    const stream = session.request(fields).on('error', () => undefined);
    stream.write(chunk);
    return stream.resume();
  });
}

const BEGINNING = Buffer.concat([Buffer.from('{"text":"'), Buffer.alloc(900_000, 'x')]);
/** A frame of gRPC that announces more than comes. */
const FRAME = Buffer.concat([Buffer.from([0, 0, 15, 0, 0]), Buffer.alloc(900_000)]);

describe('bodies that never end', () => {
  it.each<[string, Record<string, string>, Buffer]>([
    ['with a length', POST('/v1/echo/ann', { 'content-length': '1000000' }), BEGINNING],
    ['without a length', POST('/v1/echo/ann'), BEGINNING],
    ['of a server stream', POST('/v1/raw', { 'content-length': '1000000' }), BEGINNING],
    [
      'gRPC to a service that reads them',
      POST('/echo.v1.EchoService/Echo', { 'content-type': 'application/grpc' }),
      FRAME,
    ],
    ['gRPC-Web', POST('/echo.v1.EchoService/Echo', { 'content-type': 'application/grpc-web+proto' }), FRAME],
    ['client streams of JSON', POST('/v1/collect'), BEGINNING],
  ])('HTTP/2, %s', async (_, fields, chunk) => {
    for (let connection = 0; connection < 4; connection++) unfinished(http2('127.0.0.1'), fields, chunk);
    await expect.poll(() => memory().held, { interval: 5 }).toBeGreaterThan(MIB);
    expect(await honest(40)).toEqual(new Set([200]));
    expect(peak).toBeLessThan(ADDRESS + 4 * OVERSHOOT);
  });

  it('those that find no room are refused after a while, and the others go on', async () => {
    const session = http2('127.0.0.1');
    const refused: (string | undefined)[] = [];
    for (const stream of unfinished(session, POST('/v1/echo/ann'), BEGINNING)) {
      stream.on('response', (fields) => refused.push(`${fields[':status']} ${fields['retry-after']}`));
    }
    await expect.poll(() => refused.length).toBeGreaterThan(50);
    expect(new Set(refused)).toEqual(new Set(['503 1']));
    expect(await refusals('waited')).toBeGreaterThanOrEqual(refused.length);
  });

  it('HTTP/1.1: many connections of one address', async () => {
    const chunks = [`e0000\r\n`, 'x'.repeat(0xe0000)];
    for (let connection = 0; connection < 40; connection++) {
      const socket = tcp('127.0.0.1');
      socket.write(
        'POST /v1/raw HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n',
      );
      socket.write(chunks.join(''));
      socket.resume();
    }
    await expect.poll(() => memory().held, { interval: 5 }).toBeGreaterThan(MIB);
    expect(await honest(40)).toEqual(new Set([200]));
    // Each connection has read ahead a little.
    expect(peak).toBeLessThan(ADDRESS + 40 * 200_000);
  });

  it('what is small in itself and large when decoded', async () => {
    const bomb = gzipSync(Buffer.alloc(1_000_000, ' '));
    const session = http2('127.0.0.1');
    const fields = POST('/v1/echo/ann', { 'content-encoding': 'gzip' });
    const streams = Array.from({ length: 60 }, () => session.request(fields).on('error', () => undefined));
    // All but the last octets, so that no decoder is done.
    for (const stream of streams) stream.resume().write(bomb.subarray(0, -20));
    await expect.poll(() => memory().held, { interval: 5 }).toBeGreaterThan(MIB / 2);
    expect(await honest(20)).toEqual(new Set([200]));
    // A decoder gives out what it has decoded of a chunk before it can be stopped.
    expect(peak).toBeLessThan(BOUNDS.total);
  });

  it('behind a proxy: what is held counts for the address that it names, and holds up no other', async () => {
    const session = http2('127.0.0.3');
    const of = (address: string) => POST('/v1/echo/ann', { 'x-forwarded-for': address });
    unfinished(session, of('192.0.2.1'), BEGINNING);
    await expect.poll(() => gateway.runtime.clients.memory.waiters).toBeGreaterThan(0);
    for (let call = 0; call < 5; call++) {
      const stream = session.request(of('192.0.2.2'));
      stream.end(text(700_000));
      expect(await statusOf(stream)).toBe(200);
    }
    expect(peak).toBeLessThan(2 * ADDRESS + 100 * 65_536);
  });

  it('a large upload of the same address gets done beside others that wait', async () => {
    const session = http2('127.0.0.1');
    const streams = Array.from({ length: 12 }, () => session.request(POST('/v1/echo/ann')));
    const statuses = streams.map(statusOf);
    for (const stream of streams) stream.end(text(900_000));
    expect(await Promise.all(statuses)).toContain(200);
  });
});

describe('the size that a method takes', () => {
  it.each([
    ['announced', { 'content-length': '65537' }],
    ['not announced', {}],
  ])('413 for more, %s', async (_, fields: Record<string, string>) => {
    const session = http2('127.0.0.1');
    const stream = session.request({ ...POST('/v1/hang', fields), ':method': 'GET' }, { endStream: false });
    const status = statusOf(stream);
    stream.write(Buffer.alloc(65_537, ' '));
    expect(await status).toBe(413);
  });
});

describe('answers that are not read', () => {
  const PATH = '/v1/raw';
  const BODY = Buffer.alloc(700_000, 'x');

  /** Sends requests with large answers on streams that have no window at all, or almost none. */
  function unread(streams: number): ClientHttp2Session {
    const session = connectHttp2(gateway.origin, {
      createConnection: () => tcp('127.0.0.1'),
      settings: { initialWindowSize: 1 },
    });
    opened.push(session.on('error', () => undefined));
    for (let count = 0; count < streams; count++) {
      const stream = session.request(POST(PATH, { 'content-type': 'text/plain' })).on('error', () => undefined);
      stream.end(BODY);
      // Node gives back what was read; a stream that is not read gives nothing.
      stream.pause();
    }
    return session;
  }

  it('wait in the service, and are refused after a while', async () => {
    for (let connection = 0; connection < 3; connection++) unread(60);
    await expect.poll(() => memory().held, { interval: 5 }).toBeGreaterThan(MIB);
    expect(await honest(40)).toEqual(new Set([200]));
    expect(peak).toBeLessThan(ADDRESS + 3 * OVERSHOOT);
  });

  it.each(['/v1/count/1?size=700000', '/v1/download/1?size=700000'])(
    'nor are those of small requests: %s',
    async (path) => {
      for (let connection = 0; connection < 3; connection++) {
        const session = connectHttp2(gateway.origin, {
          createConnection: () => tcp('127.0.0.1'),
          settings: { initialWindowSize: 0 },
        });
        opened.push(session.on('error', () => undefined));
        for (let count = 0; count < 60; count++) session.request({ ':path': path }).on('error', () => undefined);
      }
      await expect.poll(() => refusals('waited')).toBeGreaterThan(20);
      expect(await honest(10)).toEqual(new Set([200]));
      expect(peak).toBeLessThan(ADDRESS + 180 * PAUSED);
    },
  );

  it('and so are those over HTTP/1.1 on many connections', async () => {
    for (let connection = 0; connection < 60; connection++) {
      const socket = tcp('127.0.0.1');
      socket.pause();
      socket.write('GET /v1/count/5?size=700000 HTTP/1.1\r\nHost: a\r\n\r\n');
    }
    await expect.poll(() => memory().held, { interval: 5 }).toBeGreaterThan(MIB);
    expect(await honest(10)).toEqual(new Set([200]));
    expect(peak).toBeLessThan(ADDRESS + 60 * 400_000);
  });

  it('are given up when less than the least rate is read for a while', async () => {
    const session = connectHttp2(gateway.origin, {
      createConnection: () => tcp('127.0.0.1'),
      settings: { initialWindowSize: 100 },
    });
    opened.push(session);
    const stream = session.request({ ':path': '/v1/count/3?size=300000' });
    // A few octets at a time: something always moves.
    const reset = new Promise<number>((resolve) =>
      stream.on('error', () => undefined).on('close', () => resolve(stream.rstCode)),
    );
    stream.pause();
    const trickle = setInterval(() => stream.read(10), 50);
    expect(await reset).toBe(8);
    clearInterval(trickle);
    expect(gateway.listener.hits('slow_reader')).toBe(1);
  });

  it('are kept for one who reads slowly but steadily', async () => {
    const session = http2('127.0.0.1');
    const stream = session.request({ ':path': '/v1/count/3?size=30000' });
    let octets = 0;
    const done = new Promise<void>((resolve, reject) => stream.on('end', resolve).on('error', reject));
    stream.pause();
    const trickle = setInterval(() => {
      const piece = stream.read(2000) as Buffer | null;
      octets += piece?.length ?? (stream.read() as Buffer | null)?.length ?? 0;
    }, 50);
    await done;
    clearInterval(trickle);
    expect(octets).toBeGreaterThan(90_000);
    expect(gateway.listener.hits('slow_reader')).toBe(0);
  });
});
