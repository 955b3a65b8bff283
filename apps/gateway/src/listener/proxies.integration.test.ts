import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ask, protocols } from '../../testdata/client.js';
import { converse } from '../../testdata/conversation.js';
import { type EchoServer, startEchoServer } from '../../testdata/echo-server.js';
import { startTestGateway, type TestGateway, tlsOptions } from '../../testdata/gateway.js';
import { RawHttp2 } from '../../testdata/raw-http2.js';

/** Addresses of one machine: 127.0.0.0/8 is all loopback. */
const [STRANGER, TRUSTED, ANNOUNCED] = ['127.0.0.1', '127.0.0.2', '127.0.0.3'] as const;
const file = (name: string) => fileURLToPath(new URL(`../../testdata/tls/${name}`, import.meta.url));

let echo: EchoServer;
let gateway: TestGateway;
beforeAll(async () => {
  echo = await startEchoServer();
  gateway = await startTestGateway(`127.0.0.1:${echo.port}`, {
    trusted_proxies: [TRUSTED, STRANGER, '198.51.100.0/24'],
    proxy_protocol: [ANNOUNCED],
    timeouts: { headers: '600ms' },
    connections: { perAddress: 2 },
    listener: { tls: tlsOptions([{ cert: file('cert.pem'), key: file('key.pem') }]) },
  });
});
afterAll(async () => {
  await gateway?.stop();
  echo?.stop();
});

const CLIENT = '192.0.2.7';
const GET = 'GET /v1/metadata HTTP/1.1\r\nHost: localhost\r\n\r\n';
const V1 = Buffer.from(`PROXY TCP4 ${CLIENT} 198.51.100.1 56324 443\r\n`);
const V2 = Buffer.from('0d0a0d0a000d0a515549540a2111000cc0000207c6336401dc0401bb', 'hex');
const LOCAL = Buffer.from('0d0a0d0a000d0a515549540a20000000', 'hex');

const tcp = (localAddress: string = ANNOUNCED, port = gateway.port): Socket =>
  connectTcp({ port, host: '127.0.0.1', localAddress }).on('error', () => undefined);

/** What the service is told by the answer to a request on the socket. */
async function told(socket: Socket): Promise<Record<string, string>> {
  const client = converse(gateway.port, socket);
  client.send(GET);
  await expect.poll(() => client.answers().length).toBe(1);
  const { metadata } = JSON.parse(client.answers()[0]!.body) as { metadata: Record<string, string> };
  socket.destroy();
  return metadata;
}

describe('the PROXY protocol', () => {
  it.each<[string, Buffer, string]>([
    ['version 1', V1, CLIENT],
    ['version 2', V2, CLIENT],
    ['version 1 without an address', Buffer.from('PROXY UNKNOWN\r\n'), ANNOUNCED],
    ['version 2 of the proxy itself', LOCAL, ANNOUNCED],
  ])('%s: the client is who it says, over HTTP/1.1, HTTP/2 and TLS', async (_, header, address) => {
    const plain = tcp();
    plain.write(header);
    expect(await told(plain)).toMatchObject({ 'x-forwarded-for': address, 'x-forwarded-proto': 'http' });

    const raw = tcp();
    raw.write(header);
    const http2 = RawHttp2.on(raw);
    const request = [':method GET', ':scheme http', ':path /v1/metadata', ':authority a'];
    http2.headers(
      1,
      request.map((line) => line.split(' ') as [string, string]),
      true,
    );
    expect(JSON.parse((await http2.answer(1)).body)).toMatchObject({ metadata: { 'x-forwarded-for': address } });
    http2.close();

    const under = tcp(ANNOUNCED, gateway.listener.tlsPort);
    under.write(header);
    const secure = connectTls({ socket: under, servername: 'localhost', rejectUnauthorized: false });
    expect(await told(secure)).toMatchObject({ 'x-forwarded-for': address, 'x-forwarded-proto': 'https' });
  });

  it('the header and what follows may come in any pieces', async () => {
    const whole = Buffer.concat([V2, Buffer.from(GET)]);
    for (const size of [1, 20, whole.length]) {
      const socket = tcp();
      socket.setNoDelay(true);
      const client = converse(gateway.port, socket);
      for (let at = 0; at < whole.length; at += size) {
        socket.write(whole.subarray(at, at + size));
        await new Promise((resolve) => setImmediate(resolve));
      }
      await expect.poll(() => client.answers().length).toBe(1);
      expect(client.answers()[0]!.body).toContain(CLIENT);
      socket.destroy();
    }
  });

  it('a handshake that comes with the header is not lost', async () => {
    const under = tcp(ANNOUNCED, gateway.listener.tlsPort);
    under.cork();
    under.write(V1);
    const secure = connectTls({ socket: under, servername: 'localhost', rejectUnauthorized: false });
    setImmediate(() => under.uncork());
    expect(await told(secure)).toMatchObject({ 'x-forwarded-for': CLIENT });
  });

  it('a proxy that says nothing, or something else, is shed', async () => {
    const before = gateway.listener.hits('proxy_header');
    for (const sent of ['', GET, 'PROXY TCP4 a b 1 2\r\n', 'PROX']) {
      const client = converse(gateway.port, tcp());
      if (sent !== '') client.send(sent);
      expect(await client.ended(5000), sent).toBe(true);
      expect(client.rest()).toBe('');
    }
    expect(gateway.listener.hits('proxy_header')).toBe(before + 4);
  });

  it('does not count from others', async () => {
    const client = converse(gateway.port, tcp(STRANGER));
    client.send(`${V1.toString()}${GET}`);
    expect(await client.ended(5000)).toBe(true);
    expect(
      client.rest() +
        client
          .answers()
          .map(({ status }) => status)
          .join(),
    ).toMatch(/400|^$/);
  });

  it('connections are counted for the client', async () => {
    const sockets = [tcp(), tcp(), tcp()];
    const closed: Socket[] = [];
    for (const socket of sockets) {
      socket.on('close', () => closed.push(socket));
      const client = converse(gateway.port, socket);
      client.send(V1.toString() + GET);
      await expect.poll(() => client.answers().length).toBe(1);
    }
    await expect.poll(() => closed.length).toBe(1);
    expect(closed[0]).toBe(sockets[0]);
    for (const socket of sockets) socket.destroy();
  });

  it('a client that is trusted in turn may say for whom it asks', async () => {
    const socket = tcp();
    socket.write('PROXY TCP4 198.51.100.9 198.51.100.1 1 2\r\n');
    const client = converse(gateway.port, socket);
    client.send(GET.replace('\r\n\r\n', '\r\nX-Forwarded-For: 203.0.113.1\r\n\r\n'));
    await expect.poll(() => client.answers().length).toBe(1);
    expect(client.answers()[0]!.body).toContain('203.0.113.1');
    socket.destroy();
  });
});

describe.each(protocols)('forwarding headers of a trusted proxy over %s', (protocol) => {
  it.each<[string, Record<string, string>, Record<string, string>]>([
    [
      'X-Forwarded-*',
      { 'x-forwarded-for': CLIENT, 'x-forwarded-proto': 'HTTPS, http', 'x-forwarded-host': 'api.example' },
      { 'x-forwarded-for': CLIENT, 'x-forwarded-proto': 'https', 'x-forwarded-host': 'api.example' },
    ],
    [
      'Forwarded',
      { forwarded: `for="${CLIENT}:4711";proto=https;host=api.example, for=127.0.0.2` },
      { 'x-forwarded-for': CLIENT, 'x-forwarded-proto': 'https', 'x-forwarded-host': 'api.example' },
    ],
    [
      'a host that is none',
      { 'x-forwarded-for': CLIENT, 'x-forwarded-host': 'a b' },
      { 'x-forwarded-host': `127.0.0.1` },
    ],
  ])('%s', async (_, fields, expected) => {
    const { json } = await ask(gateway.port, protocol, { path: '/v1/metadata', fields });
    const { metadata } = json as { metadata: Record<string, string> };
    for (const [name, value] of Object.entries(expected)) expect(metadata[name]).toContain(value);
  });
});
