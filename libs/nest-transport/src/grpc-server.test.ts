import {
  Metadata,
  type sendUnaryData,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import { Channel, type CallEvents, type CallOptions, type Outcome } from '@sluice/wire';
import { afterEach, describe, expect, it } from 'vitest';
import { WireGrpcServer, type WireGrpcServerOptions } from './grpc-server.js';

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const same = (bytes: Buffer): Buffer => bytes;
const method = (name: string, responseStream = false): ServiceDefinition[string] => ({
  path: `/t.T/${name}`,
  originalName: name.toLowerCase(),
  requestStream: false,
  responseStream,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
});
type Unary = ServerUnaryCall<Buffer, Buffer> & { readonly signal: AbortSignal };

async function start(
  implementation: Record<string, (call: never, done: sendUnaryData<Buffer>) => unknown>,
  options: WireGrpcServerOptions = {},
): Promise<{ server: WireGrpcServer; channel: Channel }> {
  const server = new WireGrpcServer(options);
  server.addService({ Call: method('Call'), Stream: method('Stream', true) }, implementation as never);
  const port = await server.listen('127.0.0.1:0');
  const channel = new Channel(`127.0.0.1:${port}`);
  closing.push(
    () => server.forceShutdown(),
    () => channel.close(0),
  );
  return { server, channel };
}

interface Running {
  readonly outcome: Promise<Outcome>;
  readonly messages: Buffer[];
  readonly fields: Map<string, string>;
  cancel(): void;
  pause(): void;
  resume(): void;
}

function call(channel: Channel, path: string, message: Buffer, options: CallOptions = {}): Running {
  const ended = Promise.withResolvers<Outcome>();
  const messages: Buffer[] = [];
  const fields = new Map<string, string>();
  const events: CallEvents = {
    onHeaders: (headers) => headers.forEach(([name, value]) => fields.set(name, value)),
    onMessage: (received) => void messages.push(received),
    onEnd: ended.resolve,
  };
  const running = channel.unary(channel.method(path), [], message, options, events);
  return {
    outcome: ended.promise,
    messages,
    fields,
    cancel: () => running.cancel(),
    pause: () => running.pause(),
    resume: () => running.resume(),
  };
}

describe('the server under the transport', () => {
  it('compresses for clients that accept it, and reads what is compressed', async () => {
    const { channel } = await start({ Call: (one: Unary, done) => done(null, one.request) }, { compression: 'gzip' });
    const message = Buffer.alloc(50_000, 'abc');
    const running = call(channel, '/t.T/Call', message, { compression: 'gzip' });
    expect(await running.outcome).toMatchObject({ code: 0 });
    expect(running.messages).toEqual([message]);
    expect(running.fields.get('grpc-encoding')).toBe('gzip');
  });

  it('aborts the signal of a call whose client leaves, and of one that asks for it later', async () => {
    const aborted: string[] = [];
    let begun = 0;
    const { channel } = await start({
      Call: (one: Unary) => {
        begun++;
        if (String(one.request) === 'early') one.signal.addEventListener('abort', () => aborted.push('early'));
        else one.on('cancelled', () => setImmediate(() => one.signal.aborted && aborted.push('late')));
      },
    });
    const running = ['early', 'late'].map((name) => call(channel, '/t.T/Call', Buffer.from(name)));
    await expect.poll(() => begun).toBe(2);
    for (const one of running) one.cancel();
    await expect.poll(() => aborted.sort()).toEqual(['early', 'late']);
  });

  it('turns what a handler throws or rejects with into a status', async () => {
    const { channel } = await start({
      Call: (one: Unary) => {
        if (String(one.request) === 'throw') throw Object.assign(new Error('thrown'), { code: 7 });
        return Promise.reject(new Error('rejected'));
      },
    });
    expect(await call(channel, '/t.T/Call', Buffer.from('throw')).outcome).toMatchObject({
      code: 7,
      message: 'thrown',
    });
    expect(await call(channel, '/t.T/Call', Buffer.from('reject')).outcome).toMatchObject({
      code: 2,
      message: 'rejected',
    });
  });

  it('answers once, whatever the handler does', async () => {
    const { channel } = await start({
      Call: (_one: Unary, done) => {
        const trailers = new Metadata();
        trailers.set('x', 'y');
        done(null, Buffer.from('first'), trailers);
        done(null, Buffer.from('second'));
        done({ code: 13 });
      },
    });
    const running = call(channel, '/t.T/Call', Buffer.alloc(0));
    const { code, trailers } = await running.outcome;
    expect([code, running.messages.map(String)]).toEqual([0, ['first']]);
    expect(trailers).toContainEqual(['x', 'y']);
  });

  it('holds a stream back while the client does not read', async () => {
    let written = 0;
    const { channel } = await start({
      Stream: (one: ServerWritableStream<Buffer, Buffer>) => {
        const more = (): void => {
          while (written < 200) {
            written++;
            if (!one.write(Buffer.alloc(20_000))) return void one.once('drain', more);
          }
          one.end();
        };
        more();
      },
    });
    const running = call(channel, '/t.T/Stream', Buffer.alloc(0));
    running.pause();
    let before = -1;
    await expect
      .poll(
        () => {
          const still = written === before;
          before = written;
          return still && written > 0;
        },
        { interval: 50 },
      )
      .toBe(true);
    expect(written).toBeLessThan(100);
    running.resume();
    expect(await running.outcome).toMatchObject({ code: 0 });
    expect(running.messages.length).toBe(200);
  });

  it('shuts down when the calls that run have ended', async () => {
    let finish: (() => void) | undefined;
    const { server, channel } = await start({ Call: (one: Unary, done) => (finish = () => done(null, one.request)) });
    const running = call(channel, '/t.T/Call', Buffer.from('x'));
    await expect.poll(() => finish !== undefined).toBe(true);
    let down = false;
    server.tryShutdown(() => (down = true));
    await new Promise((resolve) => setImmediate(resolve));
    expect(down).toBe(false);
    finish!();
    expect(await running.outcome).toMatchObject({ code: 0 });
    await expect.poll(() => down).toBe(true);
    expect(server.counters).toMatchObject({ open: 0, streams: 0 });
  });

  it('refuses to serve a method twice', async () => {
    const { server } = await start({});
    server.addService({ Other: method('Other') }, { Other: () => {} });
    expect(() => server.addService({ Other: method('Other') }, { Other: () => {} })).toThrow(
      '/t.T/Other is served already',
    );
  });
});
