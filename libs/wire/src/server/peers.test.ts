/** Our server as the clients of Node see it: node:http2, grpc-js, our own. Others are in `peers/`. */
import { once } from 'node:events';
import { connect as connectHttp2, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { createServer as createTls } from 'node:tls';
import { Client, credentials, Metadata, status, type ServiceError } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { Channel } from '../client/channel.js';
import { CERTIFICATE, KEY } from '../testing/certificate.js';
import { Recorder } from '../testing/recorder.js';
import { echo, Served } from '../testing/served.js';
import { timersSet } from '../timers/wheel.js';
import { Http2Server } from './server.js';
import type { ServerStream } from './server-stream.js';

const closing: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  expect(timersSet()).toBe(0);
});

async function start(handler: (stream: ServerStream) => void): Promise<Served> {
  const served = await Served.start(handler);
  closing.push(async () => {
    await served.close();
    expect(served.server.counters).toMatchObject({ open: 0, streams: 0, connectionErrors: 0 });
  });
  return served;
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders;
}

function request(
  session: ClientHttp2Session,
  headers: Record<string, string | string[]>,
  chunks: readonly Buffer[],
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ':method': 'POST', ':path': '/', ...headers }, { endStream: false });
    let seen: IncomingHttpHeaders = {};
    let trailers: IncomingHttpHeaders = {};
    const body: Buffer[] = [];
    stream.on('response', (response) => (seen = response));
    stream.on('trailers', (fields) => (trailers = fields));
    stream.on('data', (chunk: Buffer) => body.push(chunk));
    stream.on('error', reject);
    stream.on('end', () =>
      resolve({
        status: Number(seen[':status']),
        body: Buffer.concat(body).toString('latin1'),
        headers: seen,
        trailers,
      }),
    );
    for (const chunk of chunks) stream.write(chunk);
    stream.end();
  });
}

describe('a node:http2 client', () => {
  it('sends a megabyte and gets it back, on several streams at once', async () => {
    const served = await start(echo);
    const session = connectHttp2(`http://127.0.0.1:${served.port}`);
    closing.push(() => session.destroy());
    const body = Buffer.alloc(1_000_000, 'abc');
    const answers = await Promise.all(Array.from({ length: 5 }, () => request(session, {}, [body])));
    for (const answer of answers) expect(answer.body.length).toBe(body.length);
  });

  it('speaks TLS with ALPN', async () => {
    const server = new Http2Server(echo);
    const listener = createTls({ key: KEY, cert: CERTIFICATE, ALPNProtocols: ['h2', 'http/1.1'] }, (socket) =>
      server.accept(socket),
    );
    listener.listen(0, '127.0.0.1');
    await once(listener, 'listening');
    const session = connectHttp2(`https://localhost:${(listener.address() as AddressInfo).port}`, { ca: CERTIFICATE });
    expect(await request(session, {}, [Buffer.from('hi')])).toMatchObject({ status: 200, body: 'hi' });
    session.destroy();
    listener.close();
    await server.close(0);
  });

  it('is taken over after its first octets were read', async () => {
    const server = new Http2Server(echo);
    const listener = createServer((socket: Socket) => {
      socket.once('data', (chunk: Buffer) => {
        socket.pause();
        setImmediate(() => server.accept(socket, chunk));
      });
    });
    listener.listen(0, '127.0.0.1');
    await once(listener, 'listening');
    const session = connectHttp2(`http://127.0.0.1:${(listener.address() as AddressInfo).port}`);
    expect(await request(session, {}, [Buffer.from('hi')])).toMatchObject({ status: 200, body: 'hi' });
    session.destroy();
    listener.close();
    await server.close(0);
  });
});

/** gRPC by hand: echoes messages, or ends with a status. */
function grpcEcho(stream: ServerStream): void {
  if (stream.path === '/t.T/Fail') {
    stream.respond(
      200,
      [
        ['content-type', 'application/grpc'],
        ['grpc-status', '5'],
        ['grpc-message', 'no'],
      ],
      true,
    );
    return;
  }
  stream.respond(200, [
    ['content-type', 'application/grpc'],
    ['x-echo', stream.fields.find(([name]) => name === 'x-in')?.[1] ?? ''],
  ]);
  stream.events = {
    onData: (chunk) => void stream.write(Buffer.from(chunk)),
    onEnd: () => stream.trailers([['grpc-status', '0']]),
    onReset: () => {},
  };
}

it('serves a grpc-js client', async () => {
  const served = await start(grpcEcho);
  const client = new Client(`127.0.0.1:${served.port}`, credentials.createInsecure());
  closing.push(() => client.close());
  const same = (bytes: Buffer): Buffer => bytes;
  const metadata = new Metadata();
  metadata.set('x-in', 'hello');
  for (const size of [0, 20, 300_000]) {
    const answer = await new Promise<Buffer>((resolve, reject) => {
      client.makeUnaryRequest('/t.T/Echo', same, same, Buffer.alloc(size, 'x'), metadata, (error, value) =>
        error === null ? resolve(value!) : reject(error),
      );
    });
    expect(answer.length).toBe(size);
  }
  const error = await new Promise<ServiceError>((resolve) => {
    client.makeUnaryRequest('/t.T/Fail', same, same, Buffer.alloc(1), (failed) => resolve(failed!));
  });
  expect(error).toMatchObject({ code: status.NOT_FOUND, details: 'no' });
});

it('serves our own client, also in a crowd', async () => {
  const served = await start(grpcEcho);
  const channel = new Channel(`127.0.0.1:${served.port}`);
  closing.push(() => channel.close(0));
  const method = channel.method('/t.T/Echo');
  const all = Array.from({ length: 2_000 }, () => {
    const events = new Recorder();
    channel.unary(method, [], Buffer.from('hello'), {}, events);
    return events;
  });
  // More than the streams allowed were queued or refused and sent again; none is lost.
  const codes = await Promise.all(all.map(async (events) => (await events.outcome).code));
  expect(codes.filter((code) => code === status.OK).length).toBeGreaterThanOrEqual(1_000);
  expect(codes.filter((code) => code !== status.OK && code !== status.UNAVAILABLE)).toEqual([]);
});
