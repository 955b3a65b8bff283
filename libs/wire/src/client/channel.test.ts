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
import { timersSet } from '../timers/wheel.js';
import type { Fields } from '../fields.js';
import { Channel } from './channel.js';
import type { CallEvents, Outcome } from './call.js';

class Recorder implements CallEvents {
  headers: Fields | undefined;
  messages: Buffer[] = [];
  readonly done = Promise.withResolvers<Outcome>();
  ends = 0;
  onHeaders(fields: Fields): void {
    this.headers = fields;
  }
  onMessage(message: Buffer): void {
    this.messages.push(message);
  }
  onEnd(outcome: Outcome): void {
    this.ends++;
    this.done.resolve(outcome);
  }
}

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
    expect(await events.done.promise).toMatchObject({ code: 0 });
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
      expect(await events.done.promise).toMatchObject({ code: 0 });
      expect(events.messages[0]!.length).toBe(i * 1000);
    }
  });

  it('reads a status and its message', async () => {
    const events = new Recorder();
    channel.unary(channel.method('/t.T/Fail'), [], Buffer.from('abc'), {}, events);
    expect(await events.done.promise).toMatchObject({ code: 5, message: 'nö: 100%', unprocessed: false });
  });

  it('streams from the server', async () => {
    const events = new Recorder();
    channel.unary(channel.method('/t.T/ServerStream'), [], Buffer.from('abc'), {}, events);
    expect(await events.done.promise).toMatchObject({ code: 0 });
    expect(events.messages.length).toBe(100);
  });

  it('streams to the server', async () => {
    const events = new Recorder();
    const call = channel.start(channel.method('/t.T/ClientStream'), [], {}, events);
    for (let i = 0; i < 100; i++) call.write(Buffer.alloc(10_000));
    call.end();
    expect(await events.done.promise).toMatchObject({ code: 0 });
    expect(String(events.messages[0])).toBe('1000000');
  });

  it('streams both ways', async () => {
    const events = new Recorder();
    const call = channel.start(channel.method('/t.T/Bidi'), [], {}, events);
    for (let i = 0; i < 10; i++) call.write(Buffer.from(`b${i}`));
    call.end();
    expect(await events.done.promise).toMatchObject({ code: 0 });
    expect(events.messages.length).toBe(10);
  });

  it('ends at the deadline', async () => {
    const events = new Recorder();
    channel.unary(channel.method('/t.T/Stall'), [], Buffer.from('abc'), { deadline: Date.now() + 50 }, events);
    expect(await events.done.promise).toMatchObject({ code: 4 });
  });
});
