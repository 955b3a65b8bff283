import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Status } from '../grpc/status.js';
import { ErrorCode } from '../http2/errors.js';
import { Flag, FrameType } from '../http2/frames.js';
import * as f from '../testing/frames.js';
import { Recorder, RelayRecorder } from '../testing/recorder.js';
import { ScriptedServer, type PeerConnection } from '../testing/scripted-peer.js';
import { timersSet } from '../timers/wheel.js';
import { Channel } from './channel.js';
import type { ChannelOptions } from './channel-options.js';

let servers: ScriptedServer[] = [];
let channels: Channel[] = [];

beforeEach(async () => {
  servers = [await ScriptedServer.listen(), await ScriptedServer.listen()];
  channels = [];
});

afterEach(async () => {
  for (const channel of channels) {
    await channel.close(0);
    expect(channel.stats).toMatchObject({ streams: 0, queued: 0, connections: 0 });
  }
  for (const server of servers) await server.close();
  expect(timersSet()).toBe(0);
});

function open(options: ChannelOptions = {}, count = 1): Channel {
  const target = servers.slice(0, count).map(({ port }) => `127.0.0.1:${port}`);
  const channel = new Channel(target.join(','), options);
  channels.push(channel);
  return channel;
}

function call(channel: Channel, options: { idempotent?: boolean; deadline?: number } = {}): Recorder {
  const events = new Recorder();
  channel.unary(channel.method('/a.B/C'), [], Buffer.from('hello'), options, events);
  return events;
}

const ok = (streamId: number): Buffer[] => [
  f.headers(streamId, f.RESPONSE),
  f.data(streamId, f.message('yes')),
  f.headers(streamId, f.OK, true),
];

/** Answers every request of a connection. */
function answer(peer: PeerConnection, reply: (streamId: number) => Buffer[] = ok): void {
  peer.send(f.settings());
  const seen = new Set<number>();
  peer.socket.on('data', () => {
    for (const { type, streamId } of peer.frames) {
      if (type !== FrameType.HEADERS || seen.has(streamId)) continue;
      seen.add(streamId);
      peer.send(...reply(streamId));
    }
  });
}

function answerAll(server: ScriptedServer, reply: (streamId: number) => Buffer[] = ok): void {
  void server.next().then((peer) => {
    answer(peer, reply);
    answerAll(server, reply);
  });
}

describe('retry', () => {
  it('sends again at once what was refused, and what GOAWAY left out', async () => {
    const channel = open();
    const events = call(channel);
    const first = await servers[0]!.next();
    first.send(f.settings());
    await first.seeType(FrameType.HEADERS, 1);
    first.send(f.reset(1, ErrorCode.REFUSED_STREAM));
    await first.seeType(FrameType.HEADERS, 3);
    first.send(f.goaway(1, ErrorCode.NO_ERROR));
    const second = await servers[0]!.next();
    second.send(f.settings());
    await second.seeType(FrameType.HEADERS, 1);
    second.send(...ok(1));
    expect(await events.outcome).toMatchObject({ code: Status.OK });
    expect(channel.stats.retries).toBe(2);
  });

  it('does not send again what may have been processed, unless the method is idempotent', async () => {
    const channel = open();
    const once = call(channel);
    const twice = call(channel, { idempotent: true });
    const first = await servers[0]!.next();
    first.send(f.settings());
    await first.seeType(FrameType.HEADERS, 3);
    first.socket.end();
    expect(await once.outcome).toMatchObject({ code: Status.UNAVAILABLE, unprocessed: false });
    const second = await servers[0]!.next();
    answer(second);
    await second.seeType(FrameType.HEADERS);
    expect(await twice.outcome).toMatchObject({ code: Status.OK });
  });

  it('never sends again once part of the response was handed on', async () => {
    const channel = open();
    const events = call(channel, { idempotent: true });
    const peer = await servers[0]!.next();
    peer.send(f.settings());
    await peer.seeType(FrameType.HEADERS, 1);
    peer.send(f.headers(1, f.RESPONSE), f.reset(1, ErrorCode.REFUSED_STREAM));
    expect(await events.outcome).toMatchObject({ code: Status.UNAVAILABLE });
    expect(channel.stats.retries).toBe(0);
  });

  it('stops when the budget is used up', async () => {
    const channel = open({ retryShare: 0 });
    answerAll(servers[0]!, (id) => [f.headers(id, [...f.RESPONSE, ['grpc-status', '14']], true)]);
    const calls = Array.from({ length: 30 }, () => call(channel, { idempotent: true }));
    for (const events of calls) expect(await events.outcome).toMatchObject({ code: Status.UNAVAILABLE });
    expect(channel.stats.retries).toBe(10);
    expect(channel.stats.retriesRefused).toBeGreaterThan(0);
  });
});

describe('the queue', () => {
  it('respects MAX_CONCURRENT_STREAMS, waits in order, and sheds beyond its bound', async () => {
    const channel = open({ maxQueued: 2, connectionsPerAddress: 1 });
    const first = call(channel);
    const peer = await servers[0]!.next();
    peer.send(f.settings([3, 1]));
    await peer.see(({ type, flags }) => type === FrameType.SETTINGS && (flags & Flag.ACK) !== 0);
    const waiting = [call(channel), call(channel)];
    const shed = call(channel);
    expect(shed.ends).toBe(0);
    expect(await shed.outcome).toMatchObject({
      code: Status.UNAVAILABLE,
      overloaded: true,
      unprocessed: true,
      retryAfterMs: expect.any(Number),
    });
    expect(channel.stats).toMatchObject({ streams: 1, queued: 2, shed: 1 });
    peer.send(...ok(1));
    await first.outcome;
    await peer.seeType(FrameType.HEADERS, 3);
    peer.send(...ok(3));
    expect(await waiting[0]!.outcome).toMatchObject({ code: Status.OK });
    await peer.seeType(FrameType.HEADERS, 5);
    peer.send(...ok(5));
    expect(await waiting[1]!.outcome).toMatchObject({ code: Status.OK });
  });

  it('grows by as many connections as are needed, and lets go of those that are not', async () => {
    const channel = open({ connectionsPerAddress: 4, shrinkMs: 50 });
    const peers: PeerConnection[] = [];
    const greet = () =>
      void servers[0]!.next().then((peer) => {
        peers.push(peer);
        peer.send(f.settings([3, 10]));
        greet();
      });
    greet();
    call(channel);
    await expect.poll(() => peers.length).toBe(1);
    await peers[0]!.see(({ type, flags }) => type === FrameType.SETTINGS && (flags & Flag.ACK) !== 0);
    expect(channel.room).toBe(40);
    const started = Array.from({ length: 44 }, () =>
      channel.unary(channel.method('/a.B/C'), [], Buffer.from('hello'), {}, new Recorder()),
    );
    await expect.poll(() => channel.stats.connections).toBe(4);
    for (const each of started) each.cancel();
    await expect.poll(() => channel.stats.connections).toBe(1);
    expect(channel.stats.connects).toBe(4);
  });

  it('keeps the first connections when the peer takes no more', async () => {
    const channel = open({ connectionsPerAddress: 4 });
    call(channel);
    const peer = await servers[0]!.next();
    peer.send(f.settings([3, 1]));
    await peer.see(({ type, flags }) => type === FrameType.SETTINGS && (flags & Flag.ACK) !== 0);
    servers[0]!.stopListening();
    for (let index = 0; index < 20; index++) call(channel);
    await expect.poll(() => channel.stats.connectFailures).toBe(3);
    for (let index = 0; index < 20; index++) call(channel);
    expect(channel.stats).toMatchObject({ connections: 1, streams: 1, queued: 40, connects: 4 });
  });

  it('counts calls in flight over all connections, and not those that are unlimited', async () => {
    const channel = open({ maxConcurrent: 2 });
    const calls = Array.from({ length: 3 }, () => call(channel));
    const listening = new Recorder();
    channel.start(channel.method('/a.B/Listen'), [], { unlimited: true }, listening);
    const relayed = new RelayRecorder();
    channel.openStream(
      channel.method('/a.B/Listen'),
      [['content-type', 'application/grpc']],
      { unlimited: true },
      relayed,
    );
    const peer = await servers[0]!.next();
    peer.send(f.settings());
    await peer.seeType(FrameType.HEADERS, 7);
    expect(channel.stats).toMatchObject({ streams: 4, inFlight: 2, queued: 1 });
    // What takes no place has waited for the connection alone, and went first.
    peer.send(...ok(5));
    await calls[0]!.outcome;
    await peer.seeType(FrameType.HEADERS, 9);
    expect(channel.stats).toMatchObject({ streams: 4, inFlight: 2, queued: 0 });
  });

  it('opens further connections when one is full', async () => {
    const channel = open({ maxStreamsPerConnection: 2, connectionsPerAddress: 3 });
    answerAll(servers[0]!, () => []);
    const calls = Array.from({ length: 6 }, () => call(channel));
    await expect.poll(() => channel.stats.streams).toBe(6);
    expect(channel.stats.connections).toBe(3);
    await channel.close(0);
    for (const events of calls) expect((await events.outcome).code).not.toBe(Status.OK);
  });

  it('lets a call leave it by cancellation and by deadline', async () => {
    const channel = open({ maxStreamsPerConnection: 1, connectionsPerAddress: 1 });
    const running = call(channel);
    const peer = await servers[0]!.next();
    peer.send(f.settings());
    await peer.seeType(FrameType.HEADERS, 1);
    const late = call(channel, { deadline: Date.now() + 30 });
    const events = new Recorder();
    const cancelled = channel.unary(channel.method('/a.B/C'), [], Buffer.alloc(0), {}, events);
    cancelled.cancel();
    expect(events.ends).toBe(1);
    expect(await events.outcome).toMatchObject({ code: Status.CANCELLED });
    expect(await late.outcome).toMatchObject({ code: Status.DEADLINE_EXCEEDED, unprocessed: true });
    expect(channel.stats.queued).toBe(0);
    expect(running.ends).toBe(0);
  });
});

describe('several addresses', () => {
  it('spreads calls, and goes on with those that live', async () => {
    const channel = open({}, 2);
    for (const server of servers) answerAll(server);
    for (let round = 0; round < 40; round++) expect(await call(channel).outcome).toMatchObject({ code: Status.OK });
    for (const server of servers)
      expect(server.connections[0]!.frames.some(({ type }) => type === FrameType.HEADERS)).toBe(true);
    const [dead] = servers.splice(0, 1);
    await dead!.close();
    for (let round = 0; round < 40; round++) {
      expect(await call(channel, { idempotent: true }).outcome).toMatchObject({ code: Status.OK });
    }
    await expect.poll(() => channel.stats.ejected).toBe(1);
  });

  it('ejects an address that keeps failing, and lets it back', async () => {
    let broken = true;
    const channel = open({ ejectAfter: 3, ejectMs: 50, returnMs: 50 }, 2);
    answerAll(servers[0]!);
    answerAll(servers[1]!, (id) => (broken ? [f.headers(id, [...f.RESPONSE, ['grpc-status', '14']], true)] : ok(id)));
    await expect
      .poll(async () => {
        await call(channel).outcome;
        return channel.stats.ejected;
      })
      .toBe(1);
    const before = servers[1]!.connections[0]!.frames.length;
    for (let round = 0; round < 10; round++) await call(channel).outcome;
    broken = false;
    await expect
      .poll(async () => {
        expect(await call(channel).outcome).toMatchObject({ code: Status.OK });
        return servers[1]!.connections[0]!.frames.length > before && channel.stats.ejected === 0;
      })
      .toBe(true);
  });

  it('fails at once while nothing can be reached, and is back soon after', async () => {
    const [server] = servers.splice(0, 1);
    const { port } = server!;
    await server!.close();
    const channel = new Channel(`127.0.0.1:${port}`, { ejectMsMax: 100 });
    channels.push(channel);
    expect(await call(channel).outcome).toMatchObject({ code: Status.UNAVAILABLE, unprocessed: true });
    expect(channel.state).toBe('failing');
    expect((await call(channel).outcome).message).toContain('ECONNREFUSED');
  });

  it('does not hammer a peer that ends every connection at once', async () => {
    const channel = open();
    const server = servers[0]!;
    const end = (): void =>
      void server.next().then((peer) => {
        peer.send(f.settings());
        peer.socket.end();
        end();
      });
    end();
    await call(channel).outcome;
    await expect.poll(() => channel.state).toBe('failing');
    const before = server.connections.length;
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(server.connections.length - before).toBeLessThan(10);
  });

  it('does not hammer a peer that says goodbye to every connection at once', async () => {
    const channel = open();
    const server = servers[0]!;
    const end = (): void =>
      void server.next().then((peer) => {
        peer.send(f.settings(), f.goaway(0, ErrorCode.NO_ERROR));
        end();
      });
    end();
    await call(channel, { deadline: Date.now() + 200 }).outcome;
    await expect.poll(() => channel.state).toBe('failing');
    expect(server.connections.length).toBeLessThan(10);
  });

  it('loses no call at a peer that takes one of each connection', async () => {
    const channel = open({ connectionsPerAddress: 1 });
    const server = servers[0]!;
    const end = (): void =>
      void server.next().then((peer) => {
        answer(peer, (id) => [...ok(id), f.goaway(1, ErrorCode.NO_ERROR)]);
        end();
      });
    end();
    for (let round = 0; round < 20; round++) expect(await call(channel).outcome).toMatchObject({ code: Status.OK });
    expect(server.connections.length).toBeGreaterThanOrEqual(20);
  });

  it('says so when a name cannot be resolved', async () => {
    const channel = new Channel('no-such-host.invalid:1');
    channels.push(channel);
    const outcome = await call(channel).outcome;
    expect(outcome).toMatchObject({ code: Status.UNAVAILABLE, unprocessed: true });
    expect(outcome.message).toContain('no-such-host.invalid cannot be resolved');
  });

  it('refuses what is not a target', () => {
    for (const target of ['', 'host', 'host:0', 'host:99999', 'a:1,,b:2']) {
      expect(() => new Channel(target), target).toThrow(TypeError);
    }
  });
});

describe('liveness', () => {
  it('drops a connection whose peer does not answer PING', async () => {
    const channel = open({ keepaliveMs: 20, keepaliveTimeoutMs: 30, maxAttempts: 1 });
    const events = call(channel);
    const peer = await servers[0]!.next();
    peer.send(f.settings());
    await peer.seeType(FrameType.PING);
    expect(await events.outcome).toMatchObject({
      code: Status.UNAVAILABLE,
      message: 'a PING was not answered in time',
    });
  });

  it('keeps one whose peer answers', async () => {
    const channel = open({ keepaliveMs: 20, keepaliveTimeoutMs: 2_000 });
    const events = call(channel);
    const peer = await servers[0]!.next();
    peer.send(f.settings());
    for (let count = 1; count <= 3; count++) {
      await expect
        .poll(() => peer.frames.filter(({ type }) => type === FrameType.PING).length)
        .toBeGreaterThanOrEqual(count);
      peer.send(f.frame(FrameType.PING, Flag.ACK, 0, Buffer.alloc(8)));
    }
    peer.send(...ok(1));
    expect(await events.outcome).toMatchObject({ code: Status.OK });
  });

  it('gives up on a peer that accepts and says nothing', async () => {
    const channel = open({ connectTimeoutMs: 50, maxAttempts: 1 });
    expect(await call(channel).outcome).toMatchObject({ code: Status.UNAVAILABLE });
  });

  it('suspects a connection on which a deadline passed in silence', async () => {
    const channel = open({ keepaliveTimeoutMs: 300 });
    const events = call(channel, { deadline: Date.now() + 30 });
    const peer = await servers[0]!.next();
    peer.send(f.settings());
    await peer.see(({ type, flags }) => type === FrameType.SETTINGS && (flags & Flag.ACK) !== 0);
    const silent = call(channel, { deadline: Date.now() + 60 });
    expect(await events.outcome).toMatchObject({ code: Status.DEADLINE_EXCEEDED });
    expect(await silent.outcome).toMatchObject({ code: Status.DEADLINE_EXCEEDED });
    await peer.seeType(FrameType.PING);
    await peer.closed;
  });
});

describe('deadlines that pass in silence', () => {
  it('make it ask twice, and again only when something was answered', async () => {
    const channel = open();
    const asked = (): number =>
      peer.frames.filter(({ type, flags }) => type === FrameType.PING && (flags & Flag.ACK) === 0).length;
    let next = 1;
    const miss = async (): Promise<void> => {
      const before = asked();
      const events = call(channel, { deadline: Date.now() + 30 });
      await peer.seeType(FrameType.HEADERS, next);
      next += 2;
      expect(await events.outcome).toMatchObject({ code: Status.DEADLINE_EXCEEDED });
      // RST_STREAM follows what would have been a PING.
      await peer.seeType(FrameType.RST_STREAM, next - 2);
      if (asked() > before) peer.send(f.frame(FrameType.PING, Flag.ACK, 0, Buffer.alloc(8)));
    };
    const first = call(channel);
    const peer = await servers[0]!.next();
    peer.send(f.settings());
    await peer.seeType(FrameType.HEADERS, next);
    next += 2;
    for (let time = 0; time < 4; time++) await miss();
    expect(asked()).toBe(2);
    peer.send(...ok(1));
    expect(await first.outcome).toMatchObject({ code: Status.OK });
    for (let time = 0; time < 4; time++) await miss();
    expect(asked()).toBe(4);
  });
});

describe('closing', () => {
  it('lets running calls finish, refuses new ones', async () => {
    const channel = open();
    const events = call(channel);
    const peer = await servers[0]!.next();
    peer.send(f.settings());
    await peer.seeType(FrameType.HEADERS, 1);
    const closing = channel.close(5_000);
    expect(channel.state).toBe('closing');
    expect(await call(channel).outcome).toMatchObject({ code: Status.UNAVAILABLE, message: 'the channel is closed' });
    peer.send(...ok(1));
    expect(await events.outcome).toMatchObject({ code: Status.OK });
    await closing;
    expect(await peer.seeType(FrameType.GOAWAY)).toMatchObject({ code: ErrorCode.NO_ERROR });
    expect(channel.state).toBe('closed');
  });

  it('ends what is left when the grace is over', async () => {
    const channel = open();
    const events = call(channel);
    const peer = await servers[0]!.next();
    peer.send(f.settings());
    await peer.seeType(FrameType.HEADERS, 1);
    await channel.close(20);
    expect((await events.outcome).code).toBe(Status.UNAVAILABLE);
  });
});

describe('backpressure and bounds', () => {
  it('stops delivering while paused, in the middle of a chunk too, and goes on', async () => {
    const channel = open();
    const events = new Recorder();
    const running = channel.unary(channel.method('/a.B/C'), [], Buffer.alloc(0), {}, events);
    events.onMessageHook = () => running.pause();
    const peer = await servers[0]!.next();
    peer.send(f.settings());
    await peer.seeType(FrameType.HEADERS, 1);
    peer.send(
      f.headers(1, f.RESPONSE),
      f.data(1, Buffer.concat([f.message('a'), f.message('b')])),
      f.data(1, f.message('c')),
      f.headers(1, f.OK, true),
    );
    for (let count = 1; count <= 3; count++) {
      await expect.poll(() => events.messages.length).toBe(count);
      expect(events.ends).toBe(0);
      running.resume();
    }
    running.resume();
    expect(await events.outcome).toMatchObject({ code: Status.OK });
    expect(events.messages.map(String)).toEqual(['a', 'b', 'c']);
  });

  it('keeps the order when paused and resumed from within a message', async () => {
    for (const delay of [false, true]) {
      const channel = open();
      const events = new Recorder();
      const running = channel.unary(channel.method('/a.B/C'), [], Buffer.alloc(0), {}, events);
      events.onMessageHook = () => {
        running.pause();
        // At once, or when everything that follows has been held back.
        if (delay && events.messages.length % 3 === 1) setTimeout(() => running.resume(), 5);
        else running.resume();
      };
      const peer = await servers[0]!.next();
      peer.send(f.settings());
      await peer.seeType(FrameType.HEADERS, 1);
      peer.send(f.headers(1, f.RESPONSE));
      for (let at = 0; at < 20; at++) {
        const pair = Buffer.concat([f.message(`${2 * at}`), f.message(`${2 * at + 1}`)]);
        peer.send(f.data(1, pair.subarray(0, 8)), f.data(1, pair.subarray(8)));
      }
      peer.send(f.headers(1, f.OK, true));
      expect(await events.outcome).toMatchObject({ code: Status.OK });
      expect(events.messages.map(Number)).toEqual(Array.from({ length: 40 }, (_, at) => at));
      await channel.close(0);
    }
  });

  it('gives credit only for what was read', async () => {
    const channel = open({ streamWindowBytes: 65_535 });
    const events = new Recorder();
    const running = channel.unary(channel.method('/a.B/C'), [], Buffer.alloc(0), {}, events);
    running.pause();
    const peer = await servers[0]!.next();
    peer.send(f.settings());
    await peer.seeType(FrameType.HEADERS, 1);
    peer.send(f.headers(1, f.RESPONSE));
    for (let at = 0; at < 3; at++) peer.send(f.data(1, f.message(Buffer.alloc(16_000))));
    peer.send(f.ping());
    await peer.see(({ type, flags }) => type === FrameType.PING && (flags & Flag.ACK) !== 0);
    const credit = (): boolean =>
      peer.frames.some(({ type, streamId }) => type === FrameType.WINDOW_UPDATE && streamId === 1);
    expect(credit()).toBe(false);
    running.resume();
    await peer.seeType(FrameType.WINDOW_UPDATE, 1);
    expect(events.messages.length).toBe(3);
    running.cancel();
  });

  it('asks to wait when the peer does not read, and says when to go on', async () => {
    const channel = open();
    const events = new Recorder();
    const running = channel.start(channel.method('/a.B/C'), [], {}, events);
    const peer = await servers[0]!.next();
    peer.send(f.settings());
    await peer.seeType(FrameType.HEADERS, 1);
    let written = 0;
    while (running.write(Buffer.alloc(20_000))) written++;
    expect(written).toBeLessThan(20);
    peer.send(f.windowUpdate(0, 1_000_000), f.windowUpdate(1, 1_000_000));
    await expect.poll(() => events.drains).toBe(1);
    running.cancel();
    expect(await peer.seeType(FrameType.RST_STREAM)).toMatchObject({ code: ErrorCode.CANCEL });
  });

  it('sends what is written from within onDrain', async () => {
    const channel = open();
    const events = new Recorder();
    const running = channel.start(channel.method('/a.B/C'), [], {}, events);
    let left = 50;
    events.onDrain = () => {
      while (left > 0) {
        left--;
        if (!running.write(Buffer.alloc(20_000))) return;
      }
      running.end();
    };
    events.onDrain();
    const peer = await servers[0]!.next();
    peer.send(f.settings());
    let answered = 0;
    peer.socket.on('data', () => {
      for (; answered < peer.frames.length; answered++) {
        const { type, payload } = peer.frames[answered]!;
        if (type === FrameType.DATA && payload.length > 0)
          peer.send(f.windowUpdate(0, payload.length), f.windowUpdate(1, payload.length));
      }
    });
    await peer.see(({ type, flags }) => type === FrameType.DATA && (flags & Flag.END_STREAM) !== 0);
    const sent = peer.frames.reduce(
      (sum, { type, payload }) => sum + (type === FrameType.DATA ? payload.length : 0),
      0,
    );
    expect(sent).toBe(50 * 20_005);
    running.cancel();
  });

  it('refuses metadata that must not travel', async () => {
    const channel = open();
    const method = channel.method('/a.B/C');
    for (const field of [
      ['a', 'b\r\nc: d'],
      ['A', 'b'],
      [':path', '/'],
      ['te', 'trailers'],
      ['connection', 'close'],
      ['a', '\u010a'],
    ] as const) {
      const events = new Recorder();
      channel.unary(method, [field], Buffer.alloc(0), {}, events);
      expect(events.ends).toBe(0);
      expect(await events.outcome, String(field)).toMatchObject({ code: Status.INTERNAL });
    }
  });

  it('sends long metadata in CONTINUATION frames', async () => {
    const channel = open();
    const events = new Recorder();
    channel.unary(channel.method('/a.B/C'), [['x-long', 'v'.repeat(40_000)]], Buffer.alloc(0), {}, events);
    const peer = await servers[0]!.next();
    peer.send(f.settings());
    await peer.see(({ type, flags }) => type === FrameType.CONTINUATION && (flags & Flag.END_HEADERS) !== 0);
    peer.send(...ok(1));
    expect(await events.outcome).toMatchObject({ code: Status.OK });
  });
});

it.each([
  ['grpc://localhost:PORT/', 'localhost:PORT'],
  ['dns:///localhost:PORT', 'localhost:PORT'],
  ['127.0.0.1:PORT, localhost:1', '127.0.0.1:PORT'],
])('a call to %s has the authority %s', async (target, authority) => {
  const port = String(servers[0]!.port);
  const channel = new Channel(target.replace('PORT', port));
  channels.push(channel);
  call(channel, { deadline: Date.now() + 5_000 });
  const peer = await servers[0]!.next();
  peer.send(f.settings());
  const { fields } = await peer.seeType(FrameType.HEADERS, 1);
  expect(fields).toContainEqual([':authority', authority.replace('PORT', port)]);
});

describe('a relayed stream', () => {
  it('hands fields and bytes on as they are', async () => {
    const channel = open();
    const events = new RelayRecorder();
    const relay = channel.openStream(
      channel.method('/a.B/C'),
      [
        ['content-type', 'application/grpc+proto'],
        ['x-a', 'b'],
      ],
      { deadline: Date.now() + 5_000 },
      events,
    );
    relay.write(f.message('one').subarray(0, 3));
    relay.write(f.message('one').subarray(3));
    relay.end();
    const peer = await servers[0]!.next();
    peer.send(f.settings());
    const request = await peer.seeType(FrameType.HEADERS, 1);
    expect(request.fields).toContainEqual(['content-type', 'application/grpc+proto']);
    expect(request.fields!.map(([name]) => name)).toContain('grpc-timeout');
    await peer.see(({ flags, type }) => type === FrameType.DATA && (flags & Flag.END_STREAM) !== 0);
    peer.send(
      f.headers(1, [...f.RESPONSE, ['grpc-encoding', 'br']]),
      f.data(1, 'anything'),
      f.headers(
        1,
        [
          ['grpc-status', '7'],
          ['x', 'y'],
        ],
        true,
      ),
    );
    expect(await events.end).toEqual({
      trailers: [
        ['grpc-status', '7'],
        ['x', 'y'],
      ],
    });
    expect(events).toMatchObject({ status: 200, last: false });
    expect(Buffer.concat(events.chunks).toString()).toBe('anything');
  });

  it('tells trailers-only from the rest, and failures in gRPC terms', async () => {
    const channel = open({ maxAttempts: 1 });
    const method = channel.method('/a.B/C');
    const [first, second] = [new RelayRecorder(), new RelayRecorder()];
    channel.openStream(method, [], {}, first).end();
    channel.openStream(method, [], {}, second).end();
    const peer = await servers[0]!.next();
    peer.send(f.settings());
    await peer.seeType(FrameType.HEADERS, 3);
    peer.send(f.headers(1, [...f.RESPONSE, ['grpc-status', '5']], true), f.reset(3, ErrorCode.REFUSED_STREAM));
    expect(await first.end).toEqual({});
    expect(first.last).toBe(true);
    expect(await second.end).toMatchObject({ failure: { code: Status.UNAVAILABLE, unprocessed: true } });
  });
});
