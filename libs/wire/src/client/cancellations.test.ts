import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Status } from '../grpc/status.js';
import { ErrorCode } from '../http2/errors.js';
import { Flag, FrameType } from '../http2/frames.js';
import * as f from '../testing/frames.js';
import { Recorder } from '../testing/recorder.js';
import { ScriptedServer, type PeerConnection } from '../testing/scripted-peer.js';
import { timersSet } from '../timers/wheel.js';
import type { Call } from './call.js';
import { Channel } from './channel.js';

let server: ScriptedServer;
let channel: Channel;

beforeEach(async () => {
  server = await ScriptedServer.listen();
  channel = new Channel(`127.0.0.1:${server.port}`, { connectionsPerAddress: 1 });
});

afterEach(async () => {
  await channel.close(0);
  await server.close();
  expect(channel.stats).toMatchObject({ streams: 0, abandoned: 0, queued: 0, connections: 0 });
  expect(timersSet()).toBe(0);
});

interface Calling {
  readonly call: Call;
  readonly events: Recorder;
}

function start(deadline?: number): Calling {
  const events = new Recorder();
  const call = channel.unary(channel.method('/a.B/C'), [], Buffer.from('hello'), { deadline }, events);
  return { call, events };
}

/** The channel's next connection, which takes any number of streams. */
async function greeted(): Promise<PeerConnection> {
  const peer = await server.next();
  peer.send(f.settings());
  return peer;
}

/** Waits until the client has read everything that was sent before. */
async function caughtUp(peer: PeerConnection): Promise<void> {
  const pings = (): number =>
    peer.frames.filter(({ type, flags }) => type === FrameType.PING && (flags & Flag.ACK) !== 0).length;
  const before = pings();
  peer.send(f.ping());
  await expect.poll(pings).toBeGreaterThan(before);
}

const count = (peer: PeerConnection, type: number): number => peer.frames.filter((seen) => seen.type === type).length;
const answer = (streamId: number): Buffer[] => [
  f.headers(streamId, f.RESPONSE),
  f.data(streamId, f.message('yes')),
  f.headers(streamId, f.OK, true),
];

/** A connection on which so many streams were opened and cancelled, beside one, the first, that somebody waits for. */
async function cancelled(streams: number): Promise<{ peer: PeerConnection; living: Calling }> {
  const living = start();
  const peer = await greeted();
  await peer.seeType(FrameType.HEADERS, 1);
  const calls = Array.from({ length: streams }, () => start());
  await peer.seeType(FrameType.HEADERS, 1 + 2 * streams);
  for (const { call } of calls) call.cancel();
  for (const { events } of calls) expect(events.ends).toBe(1);
  return { peer, living };
}

describe('a call that is cancelled', () => {
  it('never reaches the peer within the turn that began it', async () => {
    const first = start();
    const peer = await greeted();
    await peer.seeType(FrameType.HEADERS, 1);
    const calls = Array.from({ length: 1000 }, () => start());
    for (const { call } of calls) call.cancel();
    const last = start();
    await peer.seeType(FrameType.HEADERS, 3);
    expect(count(peer, FrameType.HEADERS)).toBe(2);
    peer.send(...answer(1), ...answer(3));
    expect(await first.events.outcome).toMatchObject({ code: Status.OK });
    expect(await last.events.outcome).toMatchObject({ code: Status.OK });
    expect(count(peer, FrameType.RST_STREAM)).toBe(0);
    for (const { events } of calls) expect(await events.outcome).toMatchObject({ code: Status.CANCELLED });
  });

  it('gives its place to one that waits, though neither was sent yet', async () => {
    const first = start();
    const peer = await server.next();
    peer.send(f.settings([3, 2]));
    await peer.seeType(FrameType.HEADERS, 1);
    const second = start();
    const waiting = start();
    second.call.cancel();
    await peer.seeType(FrameType.HEADERS, 3);
    peer.send(...answer(1), ...answer(3));
    expect(await waiting.events.outcome).toMatchObject({ code: Status.OK });
    expect(await first.events.outcome).toMatchObject({ code: Status.OK });
  });

  it('is reset', async () => {
    const { peer, living } = await cancelled(1);
    expect(await peer.seeType(FrameType.RST_STREAM, 3)).toMatchObject({ code: ErrorCode.CANCEL });
    peer.send(...answer(1));
    expect(await living.events.outcome).toMatchObject({ code: Status.OK });
  });

  it('ends by END_STREAM when the peer has answered before the request was complete', async () => {
    const events = new Recorder();
    channel.start(channel.method('/a.B/C'), [], {}, events).write(Buffer.from('hello'));
    const peer = await greeted();
    await peer.seeType(FrameType.DATA, 1);
    peer.send(...answer(1));
    expect(await events.outcome).toMatchObject({ code: Status.OK });
    await peer.see(({ type, flags }) => type === FrameType.DATA && (flags & Flag.END_STREAM) !== 0);
    expect(count(peer, FrameType.RST_STREAM)).toBe(0);
  });
});

describe('a connection on which many are cancelled', () => {
  it('sends few RST_STREAM, gives way to a fresh one, and closes when nobody waits for what is left', async () => {
    const { peer, living } = await cancelled(400);
    const fresh = await greeted();
    await expect.poll(() => channel.stats.retired).toBe(1);
    // What arrives on an abandoned stream is dropped, and its window is not refilled.
    peer.send(f.headers(801, f.RESPONSE), f.data(801, Buffer.alloc(16_000)), f.data(799, Buffer.alloc(0)));
    const next = start();
    await fresh.seeType(FrameType.HEADERS, 1);
    fresh.send(...answer(1));
    expect(await next.events.outcome).toMatchObject({ code: Status.OK });
    expect(living.events.ends).toBe(0);
    expect(channel.stats.abandoned).toBeGreaterThan(200);
    peer.send(...answer(1));
    expect(await living.events.outcome).toMatchObject({ code: Status.OK });
    await peer.seeType(FrameType.GOAWAY);
    await peer.closed;
    expect(count(peer, FrameType.RST_STREAM)).toBeLessThan(200);
    expect(count(peer, FrameType.WINDOW_UPDATE)).toBe(1);
    expect(channel.stats).toMatchObject({ abandoned: 0, connections: 1 });
    expect(channel.stats.resets).toBe(count(peer, FrameType.RST_STREAM));
  });

  it('goes on taking calls until the fresh one is there', async () => {
    const { peer } = await cancelled(400);
    const mute = await server.next();
    const next = start();
    await peer.seeType(FrameType.HEADERS, 803);
    peer.send(...answer(803), ...answer(1));
    expect(await next.events.outcome).toMatchObject({ code: Status.OK });
    mute.send(f.settings());
    await peer.closed;
  });

  it('counts what the peer ends by itself no more', async () => {
    const { peer, living } = await cancelled(400);
    for (let at = 1; at <= 400; at++) peer.send(...answer(1 + 2 * at));
    await expect.poll(() => channel.stats).toMatchObject({ abandoned: 0, streams: 1 });
    peer.send(...answer(1));
    expect(await living.events.outcome).toMatchObject({ code: Status.OK });
  });

  it('sends half as many resets once the peer has asked for calm', async () => {
    const { peer, living } = await cancelled(1);
    peer.send(f.goaway(1, ErrorCode.ENHANCE_YOUR_CALM));
    const second = await greeted();
    peer.send(...answer(1));
    expect(await living.events.outcome).toMatchObject({ code: Status.OK });
    const calls = Array.from({ length: 400 }, () => start());
    await second.seeType(FrameType.HEADERS, 799);
    for (const { call } of calls) call.cancel();
    await second.see(({ type }) => type === FrameType.RST_STREAM);
    (await greeted()).send();
    await second.closed;
    expect(count(second, FrameType.RST_STREAM)).toBeLessThan(100);
  });
});

describe('a deadline that passes', () => {
  /** The stream of a call whose deadline has passed, on a connection that was there. */
  async function missed(): Promise<{ peer: PeerConnection; streamId: number }> {
    const { peer, living } = await cancelled(0);
    peer.send(...answer(1));
    await living.events.outcome;
    const { events } = start(Date.now() + 30);
    await peer.seeType(FrameType.HEADERS, 3);
    expect(await events.outcome).toMatchObject({ code: Status.DEADLINE_EXCEEDED });
    return { peer, streamId: 3 };
  }

  it('resets nothing when the peer ends the call by itself', async () => {
    const { peer, streamId } = await missed();
    peer.send(f.headers(streamId, [...f.RESPONSE, ['grpc-status', '4']], true));
    await expect.poll(() => channel.stats).toMatchObject({ abandoned: 0, streams: 0 });
    await caughtUp(peer);
    expect(channel.stats.resets).toBe(0);
  });

  it('resets what the peer does not end', async () => {
    const { peer, streamId } = await missed();
    expect(count(peer, FrameType.RST_STREAM)).toBe(0);
    expect(channel.stats.abandoned).toBe(1);
    expect(await peer.seeType(FrameType.RST_STREAM, streamId)).toMatchObject({ code: ErrorCode.CANCEL });
  });
});

describe('metadata above what the peer takes', () => {
  it('end their own call alone', async () => {
    const living = start();
    const peer = await server.next();
    peer.send(f.settings([6, 2_000]));
    await peer.seeType(FrameType.HEADERS, 1);
    const method = channel.method('/a.B/C');
    const sizes = Array.from({ length: 40 }, (_, at) => 1_000 + 25 * at);
    const calls = sizes.map((size) => {
      const events = new Recorder();
      channel.unary(
        method,
        [['x-large', 'x'.repeat(size)]],
        Buffer.from('hello'),
        { deadline: Date.now() + 5_000 },
        events,
      );
      const prepared = new Recorder();
      channel.unary(
        channel.methodWith(method, [['x-large', 'x'.repeat(size)]])!,
        [],
        Buffer.from('hello'),
        { deadline: Date.now() + 5_000 },
        prepared,
      );
      return [events, prepared] as const;
    });
    await caughtUp(peer);
    for (const [events, prepared] of calls) expect(events.ends).toBe(prepared.ends);
    const refused = calls.filter(([events]) => events.ends === 1);
    expect(refused.length).toBeGreaterThan(5);
    expect(refused.length).toBeLessThan(35);
    for (const [{ outcome }] of refused)
      expect(await outcome).toMatchObject({ code: Status.INVALID_ARGUMENT, unprocessed: true });
    const sent = peer.frames.filter(({ type }) => type === FrameType.HEADERS);
    expect(sent.length).toBe(1 + 2 * (calls.length - refused.length));
    const listSize = ({ fields }: (typeof sent)[number]): number =>
      fields!.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0);
    expect(Math.max(...sent.map(listSize))).toBeLessThanOrEqual(2_000);
    expect(Math.max(...sent.map(listSize))).toBeGreaterThan(1_960);
    for (const { streamId } of sent) peer.send(...answer(streamId));
    expect(await living.events.outcome).toMatchObject({ code: Status.OK });
  });
});

describe('a service that takes few streams at once', () => {
  it.each([1, 2, 3])('%i: a burst of 200 calls is answered whole, and none is sent twice', async (streamsMax) => {
    const serve = (): void =>
      void server.next().then((peer) => {
        peer.send(f.settings([3, streamsMax]));
        let open = 0;
        let seen = 0;
        peer.socket.on('data', () => {
          for (; seen < peer.frames.length; seen++) {
            const { type, streamId } = peer.frames[seen]!;
            if (type !== FrameType.HEADERS) continue;
            if (++open > streamsMax) {
              open--;
              peer.send(f.reset(streamId, ErrorCode.REFUSED_STREAM));
            } else
              setImmediate(() => {
                open--;
                peer.send(...answer(streamId));
              });
          }
        });
        serve();
      });
    serve();
    const calls = Array.from({ length: 200 }, () => start());
    for (const { events } of calls) expect(await events.outcome).toMatchObject({ code: Status.OK });
    expect(channel.stats.retries).toBe(0);
  });

  it('pays no retry for the first certain refusal of a call', async () => {
    await channel.close(0);
    channel = new Channel(`127.0.0.1:${server.port}`, { retryShare: 0 });
    const calls = Array.from({ length: 200 }, () => start());
    const peer = await greeted();
    await peer.seeType(FrameType.HEADERS, 399);
    for (let at = 0; at < 200; at++) peer.send(f.reset(1 + 2 * at, ErrorCode.REFUSED_STREAM));
    await peer.seeType(FrameType.HEADERS, 799);
    for (let at = 200; at < 400; at++) peer.send(...answer(1 + 2 * at));
    for (const { events } of calls) expect(await events.outcome).toMatchObject({ code: Status.OK });
  });
});
