import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Status } from '../grpc/status.js';
import { ErrorCode } from '../http2/errors.js';
import { Flag, FrameType } from '../http2/frames.js';
import * as f from '../testing/frames.js';
import { Recorder } from '../testing/recorder.js';
import { ScriptedServer, type PeerConnection } from '../testing/scripted-peer.js';
import { timersSet } from '../timers/wheel.js';
import { Channel } from './channel.js';

let server: ScriptedServer;
let channel: Channel;

beforeEach(async () => {
  server = await ScriptedServer.listen();
  channel = new Channel(`127.0.0.1:${server.port}`, {
    maxAttempts: 1,
    maxHeaderListBytes: 4096,
    streamWindowBytes: 65_535,
    maxMessageBytes: 100_000,
  });
});

afterEach(async () => {
  await channel.close(0);
  await server.close();
  // Nothing leaks: no stream, no timer, no socket.
  expect(channel.stats).toMatchObject({ streams: 0, queued: 0, connections: 0 });
  expect(channel.state).toBe('closed');
  expect(timersSet()).toBe(0);
});

/** Makes a call, lets the peer answer by `answer`, and waits for the end. */
async function exchange(
  answer: (peer: PeerConnection) => void,
  preface = [f.settings()],
): Promise<{ events: Recorder; peer: PeerConnection }> {
  const events = new Recorder();
  channel.unary(channel.method('/a.B/C'), [], Buffer.from('hello'), { deadline: Date.now() + 5_000 }, events);
  const peer = await server.next();
  peer.send(...preface);
  if (preface.length > 0) await peer.seeType(FrameType.HEADERS);
  answer(peer);
  await events.outcome;
  return { events, peer };
}

interface Row {
  readonly name: string;
  readonly sends: Buffer[];
  readonly code: number;
  /** What the peer is told: RST_STREAM or GOAWAY with this code. */
  readonly reset?: number;
  readonly goaway?: number;
}

const long = (length: number): string => 'x'.repeat(length);
const R = f.headers(1, f.RESPONSE);
const GZIP = f.headers(1, [...f.RESPONSE, ['grpc-encoding', 'gzip']]);

const ROWS: Row[] = [
  // Legal, if unusual.
  { name: 'trailers only', sends: [f.headers(1, [...f.RESPONSE, ...f.OK], true)], code: Status.OK },
  {
    name: 'unknown frames anywhere',
    sends: [f.frame(0xaa, 0xff, 1, Buffer.from('?')), R, f.frame(0xbb, 0, 0), f.headers(1, f.OK, true)],
    code: Status.OK,
  },
  {
    name: 'interim responses first',
    sends: [f.headers(1, [[':status', '103']]), R, f.headers(1, f.OK, true)],
    code: Status.OK,
  },
  {
    name: 'padding',
    sends: [
      R,
      f.frame(FrameType.DATA, Flag.PADDED, 1, Buffer.concat([Buffer.from([3]), f.message('hi'), Buffer.alloc(3)])),
      f.headers(1, f.OK, true),
    ],
    code: Status.OK,
  },
  {
    name: 'a header block in CONTINUATION frames',
    sends: [
      f.frame(FrameType.HEADERS, 0, 1, f.block(f.RESPONSE).subarray(0, 1)),
      f.frame(FrameType.CONTINUATION, 0, 1),
      f.frame(FrameType.CONTINUATION, Flag.END_HEADERS, 1, f.block(f.RESPONSE).subarray(1)),
      f.headers(1, f.OK, true),
    ],
    code: Status.OK,
  },
  {
    name: 'RST_STREAM(NO_ERROR) after a whole response',
    sends: [R, f.headers(1, f.OK, true), f.reset(1, 0)],
    code: Status.OK,
  },
  {
    name: 'priority on HEADERS',
    sends: [
      f.frame(
        FrameType.HEADERS,
        Flag.END_HEADERS | Flag.PRIORITY,
        1,
        Buffer.concat([Buffer.alloc(5), f.block(f.RESPONSE)]),
      ),
      f.headers(1, f.OK, true),
    ],
    code: Status.OK,
  },

  // §4.2, §6: wrong lengths.
  {
    name: 'a frame above SETTINGS_MAX_FRAME_SIZE',
    sends: [f.frame(FrameType.DATA, 0, 1, Buffer.alloc(16_385))],
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.FRAME_SIZE_ERROR,
  },
  {
    name: 'SETTINGS of 5 octets',
    sends: [f.frame(FrameType.SETTINGS, 0, 0, Buffer.alloc(5))],
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.FRAME_SIZE_ERROR,
  },
  {
    name: 'SETTINGS ACK with payload',
    sends: [f.frame(FrameType.SETTINGS, Flag.ACK, 0, Buffer.alloc(6))],
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.FRAME_SIZE_ERROR,
  },
  {
    name: 'PING of 7 octets',
    sends: [f.frame(FrameType.PING, 0, 0, Buffer.alloc(7))],
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.FRAME_SIZE_ERROR,
  },
  {
    name: 'RST_STREAM of 3 octets',
    sends: [f.frame(FrameType.RST_STREAM, 0, 1, Buffer.alloc(3))],
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.FRAME_SIZE_ERROR,
  },
  {
    name: 'WINDOW_UPDATE of 5 octets',
    sends: [f.frame(FrameType.WINDOW_UPDATE, 0, 1, Buffer.alloc(5))],
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.FRAME_SIZE_ERROR,
  },
  {
    name: 'GOAWAY of 7 octets',
    sends: [f.frame(FrameType.GOAWAY, 0, 0, Buffer.alloc(7))],
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.FRAME_SIZE_ERROR,
  },
  {
    name: 'PRIORITY of 4 octets',
    sends: [f.frame(FrameType.PRIORITY, 0, 1, Buffer.alloc(4))],
    code: Status.INTERNAL,
    reset: ErrorCode.FRAME_SIZE_ERROR,
  },
  {
    name: 'more padding than payload',
    sends: [R, f.frame(FrameType.DATA, Flag.PADDED, 1, Buffer.from([9, 1]))],
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.PROTOCOL_ERROR,
  },

  // §4.3, §6.10: header blocks.
  {
    name: 'DATA between HEADERS and CONTINUATION',
    sends: [f.frame(FrameType.HEADERS, 0, 1, f.block(f.RESPONSE)), f.data(1, '')],
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  {
    name: 'HEADERS of two streams interleaved',
    sends: [f.frame(FrameType.HEADERS, 0, 1, f.block(f.RESPONSE)), f.headers(3, f.RESPONSE)],
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  {
    name: 'an unknown frame between HEADERS and CONTINUATION',
    sends: [f.frame(FrameType.HEADERS, 0, 1, f.block(f.RESPONSE)), f.frame(0xaa, 0, 1)],
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  {
    name: 'CONTINUATION without HEADERS',
    sends: [f.frame(FrameType.CONTINUATION, Flag.END_HEADERS, 1)],
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  {
    name: 'a block that does not decode',
    sends: [f.frame(FrameType.HEADERS, Flag.END_HEADERS, 1, Buffer.from([0x80]))],
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.COMPRESSION_ERROR,
  },
  {
    name: 'a flood of CONTINUATION',
    sends: [
      f.frame(FrameType.HEADERS, 0, 1),
      ...Array.from({ length: 100 }, () => f.frame(FrameType.CONTINUATION, 0, 1)),
    ],
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.ENHANCE_YOUR_CALM,
  },
  {
    name: 'a block without end',
    sends: [f.frame(FrameType.HEADERS, 0, 1), f.frame(FrameType.CONTINUATION, 0, 1, Buffer.alloc(9000))],
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.ENHANCE_YOUR_CALM,
  },
  {
    name: 'a header list above the limit',
    sends: [f.headers(1, [...f.RESPONSE, ['a', long(2000)], ['b', long(2100)]])],
    code: Status.RESOURCE_EXHAUSTED,
    reset: ErrorCode.ENHANCE_YOUR_CALM,
  },

  // §8: malformed responses.
  {
    name: 'DATA before HEADERS',
    sends: [f.data(1, f.message('hi'))],
    code: Status.INTERNAL,
    reset: ErrorCode.PROTOCOL_ERROR,
  },
  {
    name: 'no :status',
    sends: [f.headers(1, [['content-type', 'application/grpc']])],
    code: Status.INTERNAL,
    reset: ErrorCode.PROTOCOL_ERROR,
  },
  {
    name: 'two :status',
    sends: [f.headers(1, [[':status', '200'], ...f.RESPONSE])],
    code: Status.INTERNAL,
    reset: ErrorCode.PROTOCOL_ERROR,
  },
  {
    name: 'a request pseudo-field',
    sends: [f.headers(1, [[':path', '/'], ...f.RESPONSE])],
    code: Status.INTERNAL,
    reset: ErrorCode.PROTOCOL_ERROR,
  },
  {
    name: ':status after a regular field',
    sends: [f.headers(1, [['a', 'b'], ...f.RESPONSE])],
    code: Status.INTERNAL,
    reset: ErrorCode.PROTOCOL_ERROR,
  },
  {
    name: ':status 20',
    sends: [f.headers(1, [[':status', '20']])],
    code: Status.INTERNAL,
    reset: ErrorCode.PROTOCOL_ERROR,
  },
  {
    name: 'an upper-case name',
    sends: [f.headers(1, [...f.RESPONSE, ['X-Upper', 'a']])],
    code: Status.INTERNAL,
    reset: ErrorCode.PROTOCOL_ERROR,
  },
  {
    name: 'a line feed in a value',
    sends: [f.headers(1, [...f.RESPONSE, ['a', 'b\nc: d']])],
    code: Status.INTERNAL,
    reset: ErrorCode.PROTOCOL_ERROR,
  },
  {
    name: 'connection: close',
    sends: [f.headers(1, [...f.RESPONSE, ['connection', 'close']])],
    code: Status.INTERNAL,
    reset: ErrorCode.PROTOCOL_ERROR,
  },
  { name: '101', sends: [f.headers(1, [[':status', '101']])], code: Status.INTERNAL, reset: ErrorCode.PROTOCOL_ERROR },
  {
    name: 'trailers without END_STREAM',
    sends: [R, f.headers(1, f.OK)],
    code: Status.INTERNAL,
    reset: ErrorCode.PROTOCOL_ERROR,
  },
  {
    name: 'a pseudo-field in trailers',
    sends: [R, f.headers(1, f.RESPONSE, true)],
    code: Status.INTERNAL,
    reset: ErrorCode.PROTOCOL_ERROR,
  },
  {
    name: 'a body longer than content-length',
    sends: [f.headers(1, [...f.RESPONSE, ['content-length', '3']]), f.data(1, 'abcd')],
    code: Status.INTERNAL,
    reset: ErrorCode.PROTOCOL_ERROR,
  },
  {
    name: 'a body shorter than content-length',
    sends: [f.headers(1, [...f.RESPONSE, ['content-length', '3']]), f.data(1, 'ab', true)],
    code: Status.INTERNAL,
    reset: ErrorCode.PROTOCOL_ERROR,
  },

  // §5.1, §6: frames where they cannot be.
  { name: 'DATA on stream 0', sends: [f.data(0, 'a')], code: Status.UNAVAILABLE, goaway: ErrorCode.PROTOCOL_ERROR },
  {
    name: 'HEADERS on an idle stream',
    sends: [f.headers(7, f.RESPONSE)],
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  {
    name: 'HEADERS on a stream of the server',
    sends: [f.headers(2, f.RESPONSE)],
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  {
    name: 'DATA on an idle stream',
    sends: [f.data(9, 'a')],
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  {
    name: 'RST_STREAM on an idle stream',
    sends: [f.reset(9, 0)],
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  {
    name: 'SETTINGS on a stream',
    sends: [f.frame(FrameType.SETTINGS, 0, 1)],
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  {
    name: 'PUSH_PROMISE',
    sends: [f.frame(FrameType.PUSH_PROMISE, Flag.END_HEADERS, 1, f.uint32(2))],
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  {
    name: 'SETTINGS_ENABLE_PUSH of 2',
    sends: [f.settings([2, 2])],
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  {
    name: 'SETTINGS_ENABLE_PUSH of 1 from a server',
    sends: [f.settings([2, 1])],
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  {
    name: 'SETTINGS_INITIAL_WINDOW_SIZE of 2^31',
    sends: [f.settings([4, 2 ** 31])],
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.FLOW_CONTROL_ERROR,
  },
  {
    name: 'SETTINGS_MAX_FRAME_SIZE of 1',
    sends: [f.settings([5, 1])],
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.PROTOCOL_ERROR,
  },

  // §5.2, §6.9: flow control.
  {
    name: 'WINDOW_UPDATE of 0 on the connection',
    sends: [f.windowUpdate(0, 0)],
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  {
    name: 'WINDOW_UPDATE of 0 on the stream',
    sends: [f.windowUpdate(1, 0)],
    code: Status.INTERNAL,
    reset: ErrorCode.PROTOCOL_ERROR,
  },
  {
    name: 'a connection window above 2^31-1',
    sends: [f.windowUpdate(0, 2 ** 31 - 1)],
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.FLOW_CONTROL_ERROR,
  },
  {
    name: 'a stream window above 2^31-1',
    sends: [f.windowUpdate(1, 2 ** 31 - 1)],
    code: Status.INTERNAL,
    reset: ErrorCode.FLOW_CONTROL_ERROR,
  },

  // Floods.
  {
    name: 'a flood of SETTINGS',
    sends: Array.from({ length: 200 }, () => f.settings()),
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.ENHANCE_YOUR_CALM,
  },
  {
    name: 'a flood of PING',
    sends: Array.from({ length: 3000 }, () => f.ping()),
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.ENHANCE_YOUR_CALM,
  },
  {
    name: 'a flood of empty DATA',
    sends: [R, ...Array.from({ length: 3000 }, () => f.data(1, ''))],
    code: Status.UNAVAILABLE,
    goaway: ErrorCode.ENHANCE_YOUR_CALM,
  },

  // gRPC's own rules.
  {
    name: 'a gzip message',
    sends: [GZIP, f.data(1, f.message(gzipSync('hi'), true)), f.headers(1, f.OK, true)],
    code: Status.OK,
  },
  {
    name: 'a gzip bomb',
    sends: [GZIP, f.data(1, f.message(gzipSync(Buffer.alloc(10_000_000)), true))],
    code: Status.RESOURCE_EXHAUSTED,
  },
  { name: 'gzip that is none', sends: [GZIP, f.data(1, f.message('hi', true))], code: Status.INTERNAL },
  { name: 'HTTP 503', sends: [f.headers(1, [[':status', '503']], true)], code: Status.UNAVAILABLE },
  {
    name: 'HTTP 404 with a page',
    sends: [f.headers(1, [[':status', '404']]), f.data(1, '<html>', true)],
    code: Status.UNIMPLEMENTED,
  },
  {
    name: 'not gRPC',
    sends: [
      f.headers(1, [
        [':status', '200'],
        ['content-type', 'text/html'],
      ]),
    ],
    code: Status.UNKNOWN,
  },
  { name: 'no grpc-status', sends: [R, f.data(1, f.message('hi'), true)], code: Status.UNKNOWN },
  {
    name: 'a status that is none',
    sends: [f.headers(1, [...f.RESPONSE, ['grpc-status', '99']], true)],
    code: Status.UNKNOWN,
  },
  {
    name: 'an encoding that was not offered',
    sends: [f.headers(1, [...f.RESPONSE, ['grpc-encoding', 'br']])],
    code: Status.INTERNAL,
  },
  {
    name: 'a compressed message without encoding',
    sends: [R, f.data(1, f.message('hi', true))],
    code: Status.INTERNAL,
  },
  {
    name: 'a message above the limit',
    sends: [R, f.data(1, Buffer.concat([Buffer.from([0]), f.uint32(2 ** 32 - 1)]))],
    code: Status.RESOURCE_EXHAUSTED,
  },
  {
    name: 'an end inside a message',
    sends: [R, f.data(1, f.message('hello').subarray(0, 7)), f.headers(1, f.OK, true)],
    code: Status.INTERNAL,
  },
  { name: 'RST_STREAM(CANCEL)', sends: [f.reset(1, ErrorCode.CANCEL)], code: Status.CANCELLED },
  {
    name: 'RST_STREAM(ENHANCE_YOUR_CALM)',
    sends: [f.reset(1, ErrorCode.ENHANCE_YOUR_CALM)],
    code: Status.RESOURCE_EXHAUSTED,
  },
  { name: 'RST_STREAM with an unknown code', sends: [f.reset(1, 0x1234)], code: Status.INTERNAL },
  {
    name: 'GOAWAY with an error and the stream done',
    sends: [f.goaway(1, ErrorCode.INTERNAL_ERROR), R, f.headers(1, f.OK, true)],
    code: Status.OK,
  },
];

describe('a hostile peer', () => {
  for (const row of ROWS) {
    it(`${row.name}`, async () => {
      const { events, peer } = await exchange((to) => to.send(...row.sends));
      expect(await events.outcome).toMatchObject({ code: row.code });
      if (row.reset !== undefined)
        expect(await peer.seeType(FrameType.RST_STREAM, 1)).toMatchObject({ code: row.reset });
      if (row.goaway !== undefined) {
        expect(await peer.seeType(FrameType.GOAWAY)).toMatchObject({ code: row.goaway });
        await peer.closed;
      }
    });
  }

  it('refuses a first frame that is not SETTINGS (§3.4)', async () => {
    const { peer } = await exchange((to) => to.send(f.ping()), []);
    expect(await peer.seeType(FrameType.GOAWAY)).toMatchObject({ code: ErrorCode.PROTOCOL_ERROR });
  });

  it('ends a call whose connection closes before the preface, without a word', async () => {
    const { events } = await exchange((to) => to.socket.end(), []);
    expect(await events.outcome).toMatchObject({ code: Status.UNAVAILABLE });
  });

  it('ends a connection that speaks HTTP/1.1', async () => {
    const { events } = await exchange((to) => to.socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'), []);
    expect(await events.outcome).toMatchObject({ code: Status.UNAVAILABLE });
  });

  it('resets a stream that receives more than its window while paused, and only that', async () => {
    const events = new Recorder();
    const other = new Recorder();
    const method = channel.method('/a.B/C');
    channel.start(method, [], {}, events).pause();
    channel.unary(method, [], Buffer.from('x'), {}, other);
    const peer = await server.next();
    peer.send(f.settings());
    await peer.seeType(FrameType.HEADERS, 3);
    peer.send(R);
    for (let sent = 0; sent <= 65_535; sent += 16_384) peer.send(f.data(1, Buffer.alloc(16_384)));
    expect(await events.outcome).toMatchObject({ code: Status.INTERNAL });
    expect(await peer.seeType(FrameType.RST_STREAM, 1)).toMatchObject({ code: ErrorCode.FLOW_CONTROL_ERROR });
    peer.send(f.headers(3, f.RESPONSE), f.headers(3, f.OK, true));
    expect(await other.outcome).toMatchObject({ code: Status.OK });
  });

  it('waits at a zero window and goes on when it opens; follows SETTINGS changed mid-stream', async () => {
    const events = new Recorder();
    const message = Buffer.alloc(50_000, 7);
    const warm = new Recorder();
    const method = channel.method('/a.B/C');
    channel.unary(method, [], Buffer.alloc(0), {}, warm);
    const peer = await server.next();
    peer.send(f.settings([4, 0]));
    await peer.seeType(FrameType.HEADERS, 1);
    peer.send(R, f.headers(1, f.OK, true));
    await warm.outcome;
    channel.unary(method, [], message, {}, events);
    await peer.seeType(FrameType.HEADERS, 3);
    // §6.9.2: a window may become negative; it must then be made good before anything is sent.
    peer.send(f.windowUpdate(3, 100), f.settings([4, 10_000]));
    const sent = (): number =>
      peer.frames
        .filter((seen) => seen.type === FrameType.DATA && seen.streamId === 3)
        .reduce((sum, seen) => sum + seen.payload.length, 0);
    await peer.see(() => sent() === 10_100);
    peer.send(f.settings([4, 0]), f.windowUpdate(3, 10_000), f.ping());
    await peer.see((seen) => seen.type === FrameType.PING && (seen.flags & Flag.ACK) !== 0);
    expect(sent()).toBe(10_100);
    peer.send(f.windowUpdate(3, 1_000_000));
    await peer.see(
      (seen) => seen.streamId === 3 && seen.type === FrameType.DATA && (seen.flags & Flag.END_STREAM) !== 0,
    );
    expect(sent()).toBe(message.length + 5);
    peer.send(f.headers(3, f.RESPONSE), f.headers(3, f.OK, true));
    expect(await events.outcome).toMatchObject({ code: Status.OK });
  });

  it('answers PING with the same octets', async () => {
    const { peer } = await exchange((to) => to.send(f.ping(), R, f.headers(1, f.OK, true)));
    expect(await peer.see((seen) => seen.type === FrameType.PING)).toMatchObject({
      flags: Flag.ACK,
      payload: Buffer.from('12345678'),
    });
  });
});

describe('a conversation cut at every octet', () => {
  it('ends the call exactly once, wherever the cut is', { timeout: 60_000 }, async () => {
    const preface = f.settings([3, 10], [4, 70_000]);
    const conversation = Buffer.concat([
      preface,
      f.settingsAck,
      f.ping(),
      // Our SETTINGS are acknowledged: the first block must set the table to 0 (RFC 9113 §4.3.1).
      f.frame(FrameType.HEADERS, Flag.END_HEADERS, 1, Buffer.concat([Buffer.from([0x20]), f.block(f.RESPONSE)])),
      f.data(1, f.message('first')),
      f.windowUpdate(1, 5),
      f.data(1, f.message('second').subarray(0, 4)),
      f.data(1, f.message('second').subarray(4)),
      f.headers(1, [...f.OK, ['x-a', 'b']], true),
    ]);
    for (let cut = 0; cut <= conversation.length; cut++) {
      const events = new Recorder();
      await server.close();
      server = await ScriptedServer.listen();
      channel = new Channel(`127.0.0.1:${server.port}`, { maxAttempts: 1 });
      channel.unary(channel.method('/a.B/C'), [], Buffer.from('hello'), {}, events);
      const peer = await server.next();
      if (cut < preface.length) peer.socket.end(conversation.subarray(0, cut));
      else {
        peer.send(preface);
        await peer.seeType(FrameType.DATA);
        peer.socket.end(conversation.subarray(preface.length, cut));
      }
      const outcome = await events.outcome;
      expect(outcome.code, `cut at ${cut}`).toBe(cut === conversation.length ? Status.OK : Status.UNAVAILABLE);
      await channel.close(0);
      expect(events.ends).toBe(1);
      expect(timersSet()).toBe(0);
    }
  });

  it('understands it octet by octet', async () => {
    const events = new Recorder();
    channel.unary(channel.method('/a.B/C'), [], Buffer.from('hello'), {}, events);
    const peer = await server.next();
    for (const octet of f.settings()) peer.socket.write(Buffer.from([octet]));
    await peer.seeType(FrameType.DATA);
    for (const octet of Buffer.concat([R, f.data(1, f.message('first')), f.headers(1, f.OK, true)])) {
      peer.socket.write(Buffer.from([octet]));
    }
    expect(await events.outcome).toMatchObject({ code: Status.OK });
    expect(events.messages.map(String)).toEqual(['first']);
  });
});
