import { once } from 'node:events';
import {
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type ServerHttp2Stream,
} from 'node:http2';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { Metadata, Server, ServerCredentials, status } from '@grpc/grpc-js';
import type {
  sendUnaryData,
  ServerDuplexStream,
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
  ServiceDefinition,
} from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Recorder } from '../testing/recorder.js';
import { timersSet } from '../timers/wheel.js';
import { CERTIFICATE, KEY, NAMED_CERTIFICATE, NAMED_KEY } from '../testing/certificate.js';
import { Channel } from './channel.js';
import type { ChannelOptions } from './channel-options.js';

const raw = { serialize: (b: Buffer) => b, deserialize: (b: Buffer) => b };
const kind = (path: string, requestStream: boolean, responseStream: boolean) => ({
  path,
  requestStream,
  responseStream,
  requestSerialize: raw.serialize,
  requestDeserialize: raw.deserialize,
  responseSerialize: raw.serialize,
  responseDeserialize: raw.deserialize,
});
const service: ServiceDefinition = {
  unary: kind('/t.T/Unary', false, false),
  fail: kind('/t.T/Fail', false, false),
  stall: kind('/t.T/Stall', false, false),
  serverStream: kind('/t.T/ServerStream', false, true),
  clientStream: kind('/t.T/ClientStream', true, false),
  bidi: kind('/t.T/Bidi', true, true),
};

describe('against grpc-js', () => {
  const server = new Server();
  let channel: Channel;
  beforeAll(async () => {
    server.addService(service, {
      unary(call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) {
        const md = new Metadata();
        md.set('x-echo', call.metadata.get('x-in').join(','));
        call.sendMetadata(md);
        done(null, call.request);
      },
      fail(_call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) {
        done({ code: status.NOT_FOUND, details: 'nö: 100%' });
      },
      stall() {},
      serverStream(call: ServerWritableStream<Buffer, Buffer>) {
        for (let i = 0; i < 100; i++) call.write(Buffer.from(`m${i}`));
        call.end();
      },
      clientStream(call: ServerReadableStream<Buffer, Buffer>, done: sendUnaryData<Buffer>) {
        let n = 0;
        call.on('data', (b: Buffer) => (n += b.length));
        call.on('end', () => done(null, Buffer.from(String(n))));
      },
      bidi(call: ServerDuplexStream<Buffer, Buffer>) {
        call.on('data', (b: Buffer) => call.write(b));
        call.on('end', () => call.end());
      },
    });
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (e, p) => (e ? reject(e) : resolve(p))),
    );
    channel = new Channel(`127.0.0.1:${port}`);
  });
  afterAll(async () => {
    await channel.close(1000);
    server.forceShutdown();
    expect(timersSet()).toBe(0);
    expect(channel.state).toBe('closed');
  });

  it('makes a unary call', async () => {
    const events = new Recorder();
    channel.unary(
      channel.method('/t.T/Unary'),
      [['x-in', 'hello']],
      Buffer.from('abc'),
      { deadline: Date.now() + 5000 },
      events,
    );
    expect(await events.outcome).toMatchObject({ code: 0 });
    expect(events.messages.map(String)).toEqual(['abc']);
    expect(events.headers).toContainEqual(['x-echo', 'hello']);
  });

  it('makes many at once, also large ones', async () => {
    const method = channel.method('/t.T/Unary');
    const all = Array.from({ length: 300 }, (_, i) => {
      const events = new Recorder();
      channel.unary(method, [], Buffer.alloc(i * 1000, i), {}, events);
      return events;
    });
    for (const [i, events] of all.entries()) {
      expect(await events.outcome).toMatchObject({ code: 0 });
      expect(events.messages[0]!.length).toBe(i * 1000);
    }
  });

  it('reads a status and its message', async () => {
    const events = new Recorder();
    channel.unary(channel.method('/t.T/Fail'), [], Buffer.from('abc'), {}, events);
    expect(await events.outcome).toMatchObject({ code: 5, message: 'nö: 100%', unprocessed: false });
  });

  it('streams from the server', async () => {
    const events = new Recorder();
    channel.unary(channel.method('/t.T/ServerStream'), [], Buffer.from('abc'), {}, events);
    expect(await events.outcome).toMatchObject({ code: 0 });
    expect(events.messages.length).toBe(100);
  });

  it('streams to the server', async () => {
    const events = new Recorder();
    const call = channel.start(channel.method('/t.T/ClientStream'), [], {}, events);
    for (let i = 0; i < 100; i++) call.write(Buffer.alloc(10_000));
    call.end();
    expect(await events.outcome).toMatchObject({ code: 0 });
    expect(String(events.messages[0])).toBe('1000000');
  });

  it('streams both ways', async () => {
    const events = new Recorder();
    const call = channel.start(channel.method('/t.T/Bidi'), [], {}, events);
    for (let i = 0; i < 10; i++) call.write(Buffer.from(`b${i}`));
    call.end();
    expect(await events.outcome).toMatchObject({ code: 0 });
    expect(events.messages.length).toBe(10);
  });

  it('ends at the deadline', async () => {
    const events = new Recorder();
    channel.unary(channel.method('/t.T/Stall'), [], Buffer.from('abc'), { deadline: Date.now() + 50 }, events);
    expect(await events.outcome).toMatchObject({ code: 4 });
  });

  it('compresses with gzip', async () => {
    const events = new Recorder();
    const message = Buffer.alloc(100_000, 'abc');
    channel.unary(channel.method('/t.T/Unary'), [], message, { compression: 'gzip' }, events);
    expect(await events.outcome).toMatchObject({ code: 0 });
    expect(events.messages).toEqual([message]);
  });
});

/** What the types of Node leave out of its server's sockets. */
interface Named {
  readonly servername: string | false;
}

describe('against node:http2', () => {
  const respond = (stream: ServerHttp2Stream): void => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.pipe(stream);
  };

  /** Makes a call with a megabyte each way, then lets the server say goodbye. */
  async function roundTrip(server: Http2Server | Http2SecureServer, options: ChannelOptions): Promise<void> {
    server.on('stream', respond);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const channel = new Channel(`localhost:${port}`, options);
    const method = channel.method('/a.B/C');
    for (const size of [0, 10, 1_000_000]) {
      const events = new Recorder();
      const message = Buffer.alloc(size, 'x');
      channel.unary(method, [], message, {}, events);
      expect(await events.outcome).toMatchObject({ code: 0 });
      expect(events.messages).toEqual([message]);
    }
    await channel.close(1_000);
    expect(channel.stats).toMatchObject({ streams: 0, connections: 0 });
    server.close();
    await once(server, 'close');
  }

  it('speaks cleartext', () => roundTrip(createServer(), {}));

  it('speaks TLS with ALPN', () =>
    roundTrip(createSecureServer({ key: KEY, cert: CERTIFICATE }), { tls: { ca: CERTIFICATE } }));

  it.each<[string, ChannelOptions, string | false]>([
    ['of the address', { tls: { ca: NAMED_CERTIFICATE } }, 'localhost'],
    [
      'of the address, when that of the options is undefined',
      { tls: { ca: NAMED_CERTIFICATE, servername: undefined } },
      'localhost',
    ],
    [
      'of the address, beside a certificate of the client',
      { tls: { ca: NAMED_CERTIFICATE, cert: CERTIFICATE, key: KEY } },
      'localhost',
    ],
    ['of the options', { tls: { ca: NAMED_CERTIFICATE, servername: 'localhost' }, authority: 'other:1' }, 'localhost'],
    [
      'of the authority',
      { tls: { ca: CERTIFICATE, rejectUnauthorized: false }, authority: '3.example:443' },
      '3.example',
    ],
    [
      'of the address, when the authority is an IP address',
      { tls: { ca: NAMED_CERTIFICATE }, authority: '[::1]:1' },
      'localhost',
    ],
  ])('tells the server its name over TLS, and checks the certificate by it: the one %s', async (_, options, name) => {
    const server = createSecureServer({ key: NAMED_KEY, cert: NAMED_CERTIFICATE });
    const names: (string | false)[] = [];
    server.on('secureConnection', (socket: TLSSocket & Named) => names.push(socket.servername));
    await roundTrip(server, options);
    expect(names[0]).toBe(name);
  });

  it('sends no name for an IP address, by which it checks the certificate', async () => {
    for (const [key, cert, code] of [
      [KEY, CERTIFICATE, 0],
      [NAMED_KEY, NAMED_CERTIFICATE, 14],
    ] as const) {
      const server = createSecureServer({ key, cert });
      const names: (string | false)[] = [];
      server.on('secureConnection', (socket: TLSSocket & Named) => names.push(socket.servername));
      server.on('stream', respond);
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const channel = new Channel(`127.0.0.1:${(server.address() as AddressInfo).port}`, { tls: { ca: cert } });
      const events = new Recorder();
      channel.unary(channel.method('/a.B/C'), [], Buffer.alloc(1), {}, events);
      expect(await events.outcome).toMatchObject({ code });
      if (code === 0) expect(names).toEqual([false]);
      await channel.close(0);
      server.close();
      await once(server, 'close');
    }
  });

  it('follows a dynamic table while its own setting is not acknowledged', () =>
    roundTrip(createServer({ settings: { headerTableSize: 4096 } }), {}));

  it('does not flood a peer that has not said yet how many streams it takes', async () => {
    const server = createServer({ settings: { maxConcurrentStreams: 100 } });
    server.on('stream', respond);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const channel = new Channel(`127.0.0.1:${(server.address() as AddressInfo).port}`, {});
    const method = channel.method('/a.B/C');
    const outcomes = await Promise.all(
      Array.from({ length: 900 }, () => {
        const events = new Recorder();
        channel.unary(method, [], Buffer.alloc(10), {}, events);
        return events.outcome;
      }),
    );
    expect(outcomes.filter(({ code }) => code !== 0)).toEqual([]);
    expect(channel.stats).toMatchObject({ retries: 0, retriesRefused: 0 });
    await channel.close(1_000);
    server.close();
    await once(server, 'close');
  });

  it('refuses a certificate it does not know, and a peer without h2', async () => {
    const http1 = createHttps({ key: KEY, cert: CERTIFICATE });
    http1.listen(0, '127.0.0.1');
    await once(http1, 'listening');
    const { port } = http1.address() as AddressInfo;
    for (const tls of [true, { ca: CERTIFICATE }]) {
      const channel = new Channel(`localhost:${port}`, { tls });
      const events = new Recorder();
      channel.unary(channel.method('/a.B/C'), [], Buffer.alloc(0), {}, events);
      expect(await events.outcome).toMatchObject({ code: status.UNAVAILABLE, unprocessed: true });
      await channel.close(0);
    }
    http1.close();
  });
});
