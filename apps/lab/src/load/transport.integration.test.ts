import { createServer as createSecureServer } from 'node:https';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createRawServer, type Server, type Socket } from 'node:net';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { loopbackAddress } from './address-pool.js';
import { type Request, RequestHead } from './request.js';
import { type Answer, Transport } from './transport.js';

const from = (index = 0) => ({ index, address: loopbackAddress(index), heldUntilMs: 0, refusalsInARow: 0 });
const get: Request = { head: new RequestHead('GET', '/'), keep: 'all' };

function transportTo(url: string, timeoutMs = 5_000, mode: 'source' | 'forwarded' = 'source') {
  const transport = new Transport(url, mode, timeoutMs);
  onTestFinished(() => transport.close());
  const send = (request = get, fields = '', index = 0) =>
    new Promise<Answer>((resolve) => transport.send(from(index), request, fields, resolve));
  return { transport, send };
}

async function listening(server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** A server that does what it is told with the connections that send something. */
async function rawServer(onRequest: (socket: Socket, request: string, count: number) => void) {
  let [connections, requests] = [0, 0];
  const server = createRawServer((socket) => {
    connections++;
    socket.on('data', (bytes) => onRequest(socket, bytes.toString(), ++requests));
  });
  const port = await listening(server);
  return { url: `http://127.0.0.1:${port}`, connections: () => connections };
}

const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

describe('a call', () => {
  it('is a request as HTTP/1.1 wants it, from its own address', async () => {
    const seen: unknown[] = [];
    const server = createServer(async (request, response) => {
      const { method, url, headers, socket } = request;
      let body = '';
      for await (const chunk of request) body += String(chunk);
      seen.push({ method, url, headers, from: socket.remoteAddress, body });
      response.end('{"text":"Grüße"}');
    });
    const port = await listening(server);
    const { send } = transportTo(`http://127.0.0.1:${port}`);
    const request = {
      head: new RequestHead('POST', '/a?b=c', 'text/plain'),
      body: '{"text":"Ärger €"}',
      keep: 'all',
    } as const;
    const answer = await send(request, 'authorization: Bearer abc\r\n', 6);
    expect(answer).toMatchObject({ status: 200, fault: undefined, body: '{"text":"Grüße"}' });
    expect(answer.firstByteMs).toBeLessThanOrEqual(answer.endedMs);
    expect(seen).toEqual([
      {
        method: 'POST',
        url: '/a?b=c',
        headers: {
          host: `127.0.0.1:${port}`,
          authorization: 'Bearer abc',
          accept: 'text/plain',
          'content-type': 'application/json',
          'content-length': '21',
        },
        from: '127.1.0.7',
        body: '{"text":"Ärger €"}',
      },
    ]);
  });

  it('goes over TLS', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-lab-tls-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'];
    const made = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1'];
    execFileSync('openssl', [...made, ...subject, '-keyout', key, '-out', cert], { stdio: 'ignore' });
    const server = createSecureServer({ key: readFileSync(key), cert: readFileSync(cert) }, (request, response) =>
      response.end(`for ${request.url}`),
    );
    const port = await listening(server);
    // Nobody vouches for this certificate, until somebody does.
    const { send } = transportTo(`https://127.0.0.1:${port}`);
    expect(await send()).toMatchObject({ status: 0, fault: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
    const usual = getCACertificates();
    onTestFinished(() => setDefaultCACertificates(usual));
    setDefaultCACertificates([...usual, readFileSync(cert, 'utf8')]);
    const trusting = transportTo(`https://127.0.0.1:${port}`);
    for (let call = 0; call < 3; call++) expect(await trusting.send()).toMatchObject({ status: 200, body: 'for /' });
    expect(trusting.transport.connections).toBe(1);
  });

  it('keeps the last line of a stream, wherever it is cut', async () => {
    const lines = '{"text":"a"}\n{"text":"b"}\n{"error":{"status":503}}\n';
    for (const size of [1, 2, 7, 12, 13, 14, 25, 26, 100]) {
      const server = createServer(async (_, response) => {
        for (let at = 0; at < lines.length; at += size) {
          response.write(lines.slice(at, at + size));
          await delay(1);
        }
        response.end();
      });
      const { send } = transportTo(`http://127.0.0.1:${await listening(server)}`);
      expect((await send({ ...get, keep: 'last line' })).body.trimEnd()).toBe('{"error":{"status":503}}');
    }
  });

  it('is told how long to wait, in seconds or until a date', async () => {
    for (const [value, least, most] of [
      ['7', 7_000, 7_000],
      [new Date(Date.now() + 60_000).toUTCString(), 50_000, 60_000],
      ['soon', 0, 0],
    ] as const) {
      const server = createServer((_, response) => response.writeHead(429, { 'retry-after': value }).end());
      const { send } = transportTo(`http://127.0.0.1:${await listening(server)}`);
      const { retryAfterMs } = await send();
      expect(retryAfterMs).toBeGreaterThanOrEqual(least);
      expect(retryAfterMs).toBeLessThanOrEqual(most);
    }
  });
});

describe('connections', () => {
  it('carry one call after another, the one used last first', async () => {
    const { url, connections } = await rawServer((socket) => socket.write(ok));
    const { send, transport } = transportTo(url);
    for (let call = 0; call < 20; call++) expect((await send()).body).toBe('ok');
    expect(connections()).toBe(1);
    expect(transport.connections).toBe(1);
  });

  it('are at most 64 of an address; further calls wait for one that ends', async () => {
    const waiting: Socket[] = [];
    const { url, connections } = await rawServer((socket) => waiting.push(socket));
    const { send } = transportTo(url);
    const calls = Array.from({ length: 100 }, () => send());
    const other = send(get, '', 1);
    while (waiting.length < 65) await delay(5);
    await delay(50);
    expect([connections(), waiting.length]).toEqual([65, 65]);
    for (let answered = 0; answered < 101; answered++) {
      while (waiting.length === 0) await delay(1);
      waiting.shift()!.write(ok);
    }
    const answers = await Promise.all([...calls, other]);
    expect(answers.every(({ status }) => status === 200)).toBe(true);
    expect(connections()).toBe(65);
  });

  it('close after the answer that says so, and calls that wait get new ones', async () => {
    const { url, connections } = await rawServer((socket) =>
      socket.end('HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok'),
    );
    const { send } = transportTo(url);
    const answers = await Promise.all(Array.from({ length: 70 }, () => send()));
    expect(answers.every(({ status, body }) => status === 200 && body === 'ok')).toBe(true);
    expect(connections()).toBe(70);
  });

  it('are not used again when the server has closed them, or said what nobody asked for', async () => {
    const { url, connections } = await rawServer((socket, _, count) => {
      socket.write(count === 2 ? ok + ok : ok);
      if (count === 1) setTimeout(() => socket.end(), 20);
      if (count === 3) setTimeout(() => socket.write(ok), 20);
    });
    const { send } = transportTo(url);
    for (let call = 0; call < 4; call++) {
      expect((await send()).body).toBe('ok');
      await delay(60);
    }
    expect(connections()).toBe(4);
  });

  it('close before the server would, when they are idle', async () => {
    let closed = 0;
    const { url, connections } = await rawServer((socket) => {
      socket.on('close', () => closed++);
      socket.write('HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 0\r\n\r\n');
    });
    const { send } = transportTo(url);
    await send();
    while (closed === 0) await delay(20);
    await send();
    expect(connections()).toBe(2);
  });
});

describe('a call without a whole answer has a fault', () => {
  it.each([
    ['no answer', '', 'CONNECTION_CLOSED'],
    ['half a head', 'HTTP/1.1 200 OK\r\nContent-', 'CONNECTION_CLOSED'],
    ['half a body', 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf', 'CONNECTION_CLOSED'],
    ['half a stream', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n', 'CONNECTION_CLOSED'],
    ['something else', 'ERROR\r\n', 'MALFORMED_ANSWER'],
  ])('%s', async (_, text, fault) => {
    const { url } = await rawServer((socket) => socket.end(text));
    expect(await transportTo(url).send()).toMatchObject({ status: 0, fault });
  });

  it('a body that lasts until the connection closes is whole', async () => {
    const { url } = await rawServer((socket) => socket.end('HTTP/1.1 200 OK\r\n\r\nwhole'));
    expect(await transportTo(url).send()).toMatchObject({ status: 200, body: 'whole' });
  });

  it('a reset', async () => {
    const { url } = await rawServer((socket) => socket.resetAndDestroy());
    expect(await transportTo(url).send()).toMatchObject({ status: 0, fault: 'ECONNRESET' });
  });

  it('nobody listens', async () => {
    const server = createRawServer();
    const port = await listening(server);
    await new Promise((resolve) => server.close(resolve));
    const { send } = transportTo(`http://127.0.0.1:${port}`);
    expect(await send()).toMatchObject({ status: 0, fault: 'ECONNREFUSED' });
    expect(await send()).toMatchObject({ status: 0, fault: 'ECONNREFUSED' });
  });

  it.each([
    ['before the head', '', 'HEAD_TIMEOUT'],
    ['in the body', 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf', 'BODY_TIMEOUT'],
  ])('a stall %s', async (_, text, fault) => {
    const { url } = await rawServer((socket) => void socket.write(text));
    const { send } = transportTo(url, 300);
    expect(await send()).toMatchObject({ status: 0, fault });
  });

  it('the end of the run, also for calls that wait for a connection', async () => {
    const { url } = await rawServer(() => undefined);
    const { send, transport } = transportTo(url);
    const calls = Array.from({ length: 66 }, () => send());
    await delay(20);
    transport.close();
    const answers = await Promise.all(calls);
    expect(answers.every(({ status, fault }) => status === 0 && fault === 'CLOSED')).toBe(true);
  });
});
