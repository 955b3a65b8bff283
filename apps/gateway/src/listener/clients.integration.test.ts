import { connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type EchoServer, startEchoServer } from '../../testdata/echo-server.js';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';
import { PREFACE, frame, Type } from '../../testdata/raw-http2.js';

/** Addresses of one machine: 127.0.0.0/8 is all loopback. */
const [GREEDY, HONEST, PROXY] = ['127.0.0.1', '127.0.0.2', '127.0.0.3'] as const;

let echo: EchoServer;
let gateway: TestGateway;
const sockets: Socket[] = [];
beforeAll(async () => {
  echo = await startEchoServer();
});
afterAll(() => echo?.stop());
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await gateway.stop();
});

const start = async (connections: object) => {
  gateway = await startTestGateway(`127.0.0.1:${echo.port}`, { connections, trusted_proxies: [PROXY] });
};

const GET = 'GET /v1/echo/ann HTTP/1.1\r\nHost: a\r\n\r\n';
/** A call that stays open. */
const HANG = 'GET /v1/hang HTTP/1.1\r\nHost: a\r\nX-Request-Timeout: 60s\r\n\r\n';

interface Client {
  readonly socket: Socket;
  closed: boolean;
  received: string;
}

async function client(localAddress: string, sent?: string): Promise<Client> {
  const socket = connect({ port: gateway.port, host: '127.0.0.1', localAddress });
  sockets.push(socket);
  const made: Client = { socket, closed: false, received: '' };
  socket.on('error', () => undefined).on('close', () => (made.closed = true));
  socket.on('data', (chunk: Buffer) => (made.received += chunk.toString('latin1')));
  const before = gateway.runtime.inFlight.calls;
  if (sent !== undefined) socket.write(sent);
  if (sent === GET) await expect.poll(() => made.closed || made.received.includes('200 OK')).toBe(true);
  else if (sent === HANG) await expect.poll(() => made.closed || gateway.runtime.inFlight.calls > before).toBe(true);
  else await expect.poll(() => made.closed || socket.readyState === 'open').toBe(true);
  return made;
}

const closed = (clients: Client[]) => clients.map((each) => each.closed);

describe('the connections of one address', () => {
  it('beyond their bound the oldest idle one gives way', async () => {
    await start({ perAddress: 3 });
    const idle = [await client(GREEDY, GET), await client(GREEDY, GET), await client(GREEDY, HANG)];
    const next = await client(GREEDY, GET);
    expect(next.received).toContain('200 OK');
    await expect.poll(() => closed(idle)).toEqual([true, false, false]);
    expect(gateway.listener.hits('shed_idle')).toBe(1);
  });

  it('those that say nothing, and those of HTTP/2 without streams, are idle', async () => {
    await start({ perAddress: 2 });
    const silent = await client(GREEDY);
    const http2 = await client(GREEDY, undefined);
    http2.socket.write(Buffer.concat([PREFACE, frame(Type.SETTINGS, 0, 0), frame(Type.SETTINGS, 1, 0)]));
    await expect.poll(() => http2.received.length).toBeGreaterThan(0);
    const busy = [await client(GREEDY, HANG), await client(GREEDY, HANG)];
    await expect.poll(() => closed([silent, http2, ...busy])).toEqual([true, true, false, false]);
  });

  it('when all are in use, the new one is closed; other addresses do not notice', async () => {
    await start({ perAddress: 2 });
    const busy = [await client(GREEDY, HANG), await client(GREEDY, HANG)];
    const next = await client(GREEDY, GET);
    expect(next.closed).toBe(true);
    expect(gateway.listener.hits('address_connections')).toBe(1);
    expect((await client(HONEST, GET)).received).toContain('200 OK');
    expect(closed(busy)).toEqual([false, false]);
  });

  it('a session of HTTP/2 with a stream is in use', async () => {
    await start({ perAddress: 1 });
    const session = connectHttp2(gateway.origin).on('error', () => undefined);
    session.request({ ':path': '/v1/hang', 'x-request-timeout': '60s' }).on('error', () => undefined);
    await expect.poll(() => gateway.runtime.inFlight.calls).toBe(1);
    expect((await client(GREEDY, GET)).closed).toBe(true);
    session.destroy();
  });

  it('a trusted proxy stands for many, and has no such bound', async () => {
    await start({ perAddress: 1 });
    const proxied = [await client(PROXY, HANG), await client(PROXY, HANG), await client(PROXY, GET)];
    expect(closed(proxied)).toEqual([false, false, false]);
  });
});

describe('when all connections are taken', () => {
  it('the address with most of them gives up an idle one', async () => {
    await start({ all: 4 });
    const greedy = [await client(GREEDY, HANG)];
    for (let count = 0; count < 3; count++) greedy.push(await client(GREEDY, GET));
    const honest = [await client(HONEST, GET), await client(HONEST, GET)];
    expect(closed(honest)).toEqual([false, false]);
    await expect.poll(() => closed(greedy)).toEqual([false, true, true, false]);
    // Nobody has more than the other now.
    expect((await client(HONEST, GET)).closed).toBe(true);
    expect(gateway.listener.hits('connections')).toBe(1);
    expect(gateway.listener.connections()).toBe(4);
  });
});
