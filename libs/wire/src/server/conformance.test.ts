/** RFC 9113 §§3–7, as far as they bind a server, by section. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Field, Fields } from '../fields.js';
import { ErrorCode } from '../http2/errors.js';
import { Flag, FrameType, PREFACE } from '../http2/frames.js';
import * as f from '../testing/frames.js';
import { get, GET, post, POST, tryRules, type Rules } from '../testing/rules.fixture.js';
import { echo, Served } from '../testing/served.js';
import { timersSet } from '../timers/wheel.js';

const priority = (id: number, dependsOn: number, weight = 0): Buffer =>
  f.frame(FrameType.PRIORITY, 0, id, Buffer.concat([f.uint32(dependsOn), Buffer.from([weight])]));

const RULES: Rules = {
  '§3.4 the first frame must be SETTINGS': { sends: [get()], status: '200' },
  '§4.1 unknown frame types are ignored': {
    sends: [f.frame(0xbe, 0xff, 0, Buffer.from('?')), f.frame(0xbf, 0, 1), get()],
    status: '200',
  },
  '§4.1 undefined flags are ignored': {
    sends: [f.frame(FrameType.PING, 0xfe, 0, Buffer.alloc(8)), get()],
    status: '200',
  },
  '§4.1 the reserved bit is ignored': {
    sends: [reserved(f.frame(FrameType.PING, 0, 0, Buffer.alloc(8))), get()],
    status: '200',
  },
  '§4.2 a frame above SETTINGS_MAX_FRAME_SIZE': {
    sends: [post(), f.data(1, Buffer.alloc(16_385))],
    goaway: ErrorCode.FRAME_SIZE_ERROR,
  },
  '§4.3 a block that cannot be decoded': {
    sends: [f.frame(FrameType.HEADERS, 0x5, 1, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]))],
    goaway: ErrorCode.COMPRESSION_ERROR,
  },
  '§4.3 nothing between HEADERS and CONTINUATION': {
    sends: [f.frame(FrameType.HEADERS, 0x1, 1, f.block(GET)), f.ping()],
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  '§4.3 CONTINUATION of another stream': {
    sends: [f.frame(FrameType.HEADERS, 0x1, 1, f.block(GET)), f.frame(FrameType.CONTINUATION, 0x4, 3)],
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  '§5.1 idle: DATA': { sends: [f.data(1, 'a')], goaway: ErrorCode.PROTOCOL_ERROR },
  '§5.1 idle: RST_STREAM': { sends: [f.reset(1, 0)], goaway: ErrorCode.PROTOCOL_ERROR },
  '§5.1 idle: WINDOW_UPDATE': { sends: [f.windowUpdate(1, 1)], goaway: ErrorCode.PROTOCOL_ERROR },
  '§5.1 idle: CONTINUATION': {
    sends: [f.frame(FrameType.CONTINUATION, 0x4, 1, f.block(GET))],
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  '§5.1 idle: PRIORITY is allowed': {
    sends: [f.frame(FrameType.PRIORITY, 0, 9, f.uint32(0, 0).subarray(0, 5)), get()],
    status: '200',
  },
  '§5.1 closed by END_STREAM: DATA': { sends: [get(), f.ping(), f.data(1, 'a')], goaway: ErrorCode.STREAM_CLOSED },
  '§5.1 closed by END_STREAM: HEADERS': { sends: [get(), f.ping(), get()], goaway: ErrorCode.STREAM_CLOSED },
  '§5.1 closed by RST_STREAM: DATA': {
    sends: [post(), f.reset(1, ErrorCode.CANCEL), f.data(1, 'a')],
    goaway: ErrorCode.STREAM_CLOSED,
  },
  '§5.1 closed by RST_STREAM: HEADERS': {
    sends: [post(), f.reset(1, ErrorCode.CANCEL), f.headers(1, [], true)],
    goaway: ErrorCode.STREAM_CLOSED,
  },
  '§5.1 closed: WINDOW_UPDATE, PRIORITY, RST_STREAM are allowed': {
    sends: [get(), f.windowUpdate(1, 5), f.reset(1, 0), f.frame(FrameType.PRIORITY, 0, 1, Buffer.alloc(5)), get(3)],
    status: '200',
    on: 3,
  },
  '§5.1.1 a stream of even number': { sends: [get(2)], goaway: ErrorCode.PROTOCOL_ERROR },
  '§5.1.1 a number lower than before': { sends: [post(5), get(3)], goaway: ErrorCode.PROTOCOL_ERROR },
  '§5.1.2 more streams than allowed': {
    sends: [post(1), post(3), post(5), get(7)],
    reset: ErrorCode.REFUSED_STREAM,
    on: 7,
    statusWhenAnswered: '200',
  },
  '§5.3.1 HEADERS that depend on themselves': {
    sends: [f.frame(FrameType.HEADERS, 0x25, 1, Buffer.concat([f.uint32(1), Buffer.from([0]), f.block(GET)]))],
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  '§5.5 extensions in the middle of a block': {
    sends: [f.frame(FrameType.HEADERS, 0x1, 1, f.block(GET)), f.frame(0xbe, 0, 1)],
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  '§6.1 DATA on stream 0': { sends: [f.data(0, 'a')], goaway: ErrorCode.PROTOCOL_ERROR },
  '§6.1 DATA after END_STREAM, half-closed': {
    sends: [f.headers(1, POST, true), f.data(1, 'a')],
    unanswered: true,
    reset: ErrorCode.STREAM_CLOSED,
  },
  '§6.1 padding as long as the payload': {
    sends: [post(), f.frame(FrameType.DATA, Flag.PADDED, 1, Buffer.from([1]))],
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  '§6.1 padding is dropped': {
    sends: [post(), f.frame(FrameType.DATA, Flag.PADDED | Flag.END_STREAM, 1, Buffer.from([2, 0x61, 0, 0]))],
    status: '200',
  },
  '§6.2 HEADERS on stream 0': { sends: [f.headers(0, GET, true)], goaway: ErrorCode.PROTOCOL_ERROR },
  '§6.2 padding of HEADERS as long as the payload': {
    sends: [f.frame(FrameType.HEADERS, 0xd, 1, Buffer.from([9, 0x82]))],
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  '§6.2 HEADERS after END_STREAM, half-closed': {
    sends: [f.headers(1, POST, true), f.headers(1, [], true)],
    unanswered: true,
    reset: ErrorCode.STREAM_CLOSED,
  },
  '§6.2 padded HEADERS with priority': {
    sends: [
      f.frame(
        FrameType.HEADERS,
        0x2d,
        1,
        Buffer.concat([Buffer.from([2]), f.uint32(3), Buffer.from([200]), f.block(GET), Buffer.alloc(2)]),
      ),
    ],
    status: '200',
  },
  '§6.3 PRIORITY on stream 0': {
    sends: [f.frame(FrameType.PRIORITY, 0, 0, Buffer.alloc(5))],
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  '§6.3 PRIORITY of 4 octets': {
    sends: [post(), f.frame(FrameType.PRIORITY, 0, 1, Buffer.alloc(4))],
    reset: ErrorCode.FRAME_SIZE_ERROR,
  },
  '§6.4 RST_STREAM on stream 0': { sends: [f.reset(0, 0)], goaway: ErrorCode.PROTOCOL_ERROR },
  '§6.4 RST_STREAM of 5 octets': {
    sends: [post(), f.frame(FrameType.RST_STREAM, 0, 1, Buffer.alloc(5))],
    goaway: ErrorCode.FRAME_SIZE_ERROR,
  },
  '§6.5 SETTINGS on a stream': { sends: [f.frame(FrameType.SETTINGS, 0, 1)], goaway: ErrorCode.PROTOCOL_ERROR },
  '§6.5 SETTINGS of 7 octets': {
    sends: [f.frame(FrameType.SETTINGS, 0, 0, Buffer.alloc(7))],
    goaway: ErrorCode.FRAME_SIZE_ERROR,
  },
  '§6.5 SETTINGS ACK with payload': {
    sends: [f.frame(FrameType.SETTINGS, Flag.ACK, 0, Buffer.alloc(6))],
    goaway: ErrorCode.FRAME_SIZE_ERROR,
  },
  '§6.5.2 ENABLE_PUSH of 2': { sends: [f.settings([2, 2])], goaway: ErrorCode.PROTOCOL_ERROR },
  '§6.5.2 INITIAL_WINDOW_SIZE above 2^31-1': {
    sends: [f.settings([4, 2 ** 31])],
    goaway: ErrorCode.FLOW_CONTROL_ERROR,
  },
  '§6.5.2 MAX_FRAME_SIZE below 2^14': { sends: [f.settings([5, 16_383])], goaway: ErrorCode.PROTOCOL_ERROR },
  '§6.5.2 MAX_FRAME_SIZE above 2^24-1': { sends: [f.settings([5, 2 ** 24])], goaway: ErrorCode.PROTOCOL_ERROR },
  '§6.5.2 unknown settings are ignored': { sends: [f.settings([0xbeef, 7]), get()], status: '200' },
  '§6.6 PUSH_PROMISE from a client': {
    sends: [post(), f.frame(FrameType.PUSH_PROMISE, 0x4, 1, f.uint32(2))],
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  '§6.7 PING on a stream': {
    sends: [f.frame(FrameType.PING, 0, 1, Buffer.alloc(8))],
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  '§6.7 PING of 6 octets': {
    sends: [f.frame(FrameType.PING, 0, 0, Buffer.alloc(6))],
    goaway: ErrorCode.FRAME_SIZE_ERROR,
  },
  '§6.8 GOAWAY on a stream': {
    sends: [f.frame(FrameType.GOAWAY, 0, 1, Buffer.alloc(8))],
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  '§6.9 WINDOW_UPDATE of 0 on the connection': { sends: [f.windowUpdate(0, 0)], goaway: ErrorCode.PROTOCOL_ERROR },
  '§6.9 WINDOW_UPDATE of 0 on a stream': { sends: [post(), f.windowUpdate(1, 0)], reset: ErrorCode.PROTOCOL_ERROR },
  '§6.9 WINDOW_UPDATE of 3 octets': {
    sends: [f.frame(FrameType.WINDOW_UPDATE, 0, 0, Buffer.alloc(3))],
    goaway: ErrorCode.FRAME_SIZE_ERROR,
  },
  '§6.9.1 a connection window above 2^31-1': {
    sends: [f.windowUpdate(0, 2 ** 31 - 1)],
    goaway: ErrorCode.FLOW_CONTROL_ERROR,
  },
  '§6.9.1 a stream window above 2^31-1': {
    sends: [post(), f.windowUpdate(1, 2 ** 31 - 1)],
    reset: ErrorCode.FLOW_CONTROL_ERROR,
  },
  '§6.9.2 a setting that moves a window above 2^31-1': {
    sends: [post(), f.windowUpdate(1, 2 ** 31 - 1 - 65_535), f.settings([4, 70_000])],
    goaway: ErrorCode.FLOW_CONTROL_ERROR,
  },
  '§6.10 CONTINUATION without HEADERS': {
    sends: [post(), f.frame(FrameType.CONTINUATION, 0x4, 1)],
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  '§6.10 CONTINUATION after END_HEADERS': {
    sends: [get(), f.frame(FrameType.CONTINUATION, 0x4, 1)],
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  '§6.10 a block in several frames': {
    sends: [
      f.frame(FrameType.HEADERS, 0x1, 1, f.block(GET).subarray(0, 3)),
      f.frame(FrameType.CONTINUATION, 0, 1, f.block(GET).subarray(3, 4)),
      f.frame(FrameType.CONTINUATION, 0x4, 1, f.block(GET).subarray(4)),
    ],
    status: '200',
  },
  '§4.2 a frame of 2^14 octets': { sends: [post(), f.data(1, Buffer.alloc(16_384), true)], status: '200' },
  '§4.2 HEADERS above SETTINGS_MAX_FRAME_SIZE': {
    sends: [f.frame(FrameType.HEADERS, 0x5, 1, Buffer.alloc(16_385))],
    goaway: ErrorCode.FRAME_SIZE_ERROR,
  },
  '§4.3 PRIORITY between HEADERS and CONTINUATION': {
    sends: [f.frame(FrameType.HEADERS, 0x1, 1, f.block(GET)), priority(1, 0), f.frame(FrameType.CONTINUATION, 0x4, 1)],
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  '§4.3 HEADERS of another stream between HEADERS and CONTINUATION': {
    sends: [f.frame(FrameType.HEADERS, 0x1, 1, f.block(GET)), get(3)],
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  '§5.1 half-closed: WINDOW_UPDATE and PRIORITY are allowed': {
    sends: [get(), f.windowUpdate(1, 5), priority(1, 0)],
    unanswered: true,
    goesOn: true,
  },
  '§5.1 half-closed: RST_STREAM is allowed': {
    sends: [get(), f.reset(1, ErrorCode.CANCEL)],
    unanswered: true,
    goesOn: true,
  },
  '§5.1 half-closed: CONTINUATION': {
    sends: [get(), f.frame(FrameType.CONTINUATION, 0x4, 1, f.block([['x', 'y']]))],
    unanswered: true,
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  '§5.1 closed by RST_STREAM: CONTINUATION': {
    sends: [post(), f.reset(1, ErrorCode.CANCEL), f.frame(FrameType.CONTINUATION, 0x4, 1, f.block([['x', 'y']]))],
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  '§5.1 closed by END_STREAM: CONTINUATION': {
    sends: [get(), f.ping(), f.frame(FrameType.CONTINUATION, 0x4, 1, f.block([['x', 'y']]))],
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  '§5.3.1 PRIORITY that depends on itself': { sends: [post(), priority(1, 1)], reset: ErrorCode.PROTOCOL_ERROR },
  '§5.3.1 PRIORITY of an idle stream that depends on itself': {
    sends: [priority(1, 1)],
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  '§5.3.1 HEADERS that depend on themselves, in several frames': {
    sends: [
      f.frame(FrameType.HEADERS, 0x21, 1, Buffer.concat([f.uint32(1), Buffer.from([0]), f.block(GET)])),
      f.frame(FrameType.CONTINUATION, 0x4, 1),
    ],
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  '§6.1 padding without its length': {
    sends: [post(), f.frame(FrameType.DATA, Flag.PADDED, 1)],
    goaway: ErrorCode.FRAME_SIZE_ERROR,
  },
  '§6.1 several DATA frames': { sends: [post(), f.data(1, 'a'), f.data(1, 'b'), f.data(1, 'c', true)], status: '200' },
  '§6.2 HEADERS too short for their priority': {
    sends: [f.frame(FrameType.HEADERS, 0x25, 1, Buffer.alloc(4))],
    goaway: ErrorCode.FRAME_SIZE_ERROR,
  },
  '§6.3 PRIORITY is read and ignored': {
    sends: [priority(1, 0, 0), priority(3, 1, 255), priority(5, 0x8000_0000 + 1, 7), get()],
    status: '200',
  },
  '§6.4 RST_STREAM of 3 octets': {
    sends: [post(), f.frame(FrameType.RST_STREAM, 0, 1, Buffer.alloc(3))],
    goaway: ErrorCode.FRAME_SIZE_ERROR,
  },
  '§6.4, §7 RST_STREAM of an unknown code': { sends: [post(), f.reset(1, 0xff)], goesOn: true },
  '§6.5.2 ENABLE_PUSH of 0 and 1': { sends: [f.settings([2, 0]), f.settings([2, 1]), get()], status: '200' },
  '§6.7 an acknowledgement that was not asked for': { sends: [f.ping(true)], goesOn: true },
  '§6.8 GOAWAY below 8 octets': {
    sends: [f.frame(FrameType.GOAWAY, 0, 0, Buffer.alloc(7))],
    goaway: ErrorCode.FRAME_SIZE_ERROR,
  },
  '§6.8, §7 GOAWAY of an unknown code ends a connection without streams': {
    sends: [f.goaway(0, 0xff)],
    goaway: ErrorCode.NO_ERROR,
  },
  '§6.9 WINDOW_UPDATE on both': {
    sends: [f.windowUpdate(0, 9), post(), f.windowUpdate(1, 9), f.data(1, '', true)],
    status: '200',
  },
  '§6.9 the reserved bit of WINDOW_UPDATE is ignored': { sends: [f.windowUpdate(0, 0x8000_0000 + 1)], goesOn: true },
  '§6.10 CONTINUATION on stream 0': {
    sends: [f.frame(FrameType.HEADERS, 0x1, 1, f.block(GET)), f.frame(FrameType.CONTINUATION, 0x4, 0)],
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  '§6.10 CONTINUATION after CONTINUATION with END_HEADERS': {
    sends: [
      f.frame(FrameType.HEADERS, 0x1, 1, f.block(GET)),
      f.frame(FrameType.CONTINUATION, 0x4, 1),
      f.frame(FrameType.CONTINUATION, 0x4, 1),
    ],
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  '§6.10 DATA instead of CONTINUATION': {
    sends: [f.frame(FrameType.HEADERS, 0x0, 1, f.block(POST)), f.data(1, 'a')],
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
};

/** The frame, for another stream. */
function ofStream(frame: Buffer, id: number): Buffer {
  const copy = Buffer.from(frame);
  copy.writeUInt32BE(id, 5);
  return copy;
}

function reserved(bytes: Buffer): Buffer {
  bytes[5] = bytes[5]! | 0x80;
  return bytes;
}

tryRules('RFC 9113 §§4–7, the server', RULES);

describe('RFC 9113 §§3–7, conversations', () => {
  let served: Served;

  beforeEach(async () => {
    served = await Served.start(echo);
  });

  afterEach(async () => {
    await served.close();
    expect(served.server.counters).toMatchObject({ open: 0, streams: 0 });
    expect(timersSet()).toBe(0);
  });

  it('§3.4 refuses another preface', async () => {
    const peer = served.connect(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
    expect(await peer.seeType(FrameType.GOAWAY)).toMatchObject({ code: ErrorCode.PROTOCOL_ERROR });
    await peer.closed;
  });

  it('§3.4 refuses a first frame that is not SETTINGS', async () => {
    const peer = served.connect(Buffer.concat([PREFACE, f.ping()]));
    expect(await peer.seeType(FrameType.GOAWAY)).toMatchObject({ code: ErrorCode.PROTOCOL_ERROR });
  });

  it('§3.4 takes the preface octet by octet', async () => {
    const peer = served.connect(Buffer.alloc(0));
    for (const octet of Buffer.concat([PREFACE, f.settings(), get()])) peer.socket.write(Buffer.from([octet]));
    await peer.seeType(FrameType.HEADERS, 1);
  });

  it('§3.4, §6.5.3 sends SETTINGS first and acknowledges the client’s', async () => {
    const peer = served.connect();
    await peer.see(({ type, flags }) => type === FrameType.SETTINGS && flags === Flag.ACK);
    expect(peer.frames[0]).toMatchObject({ type: FrameType.SETTINGS, flags: 0 });
  });

  it('§6.7 answers PING with its octets, before other frames if it can', async () => {
    const peer = served.connect();
    peer.send(f.ping());
    expect(await peer.seeType(FrameType.PING)).toMatchObject({ flags: Flag.ACK, payload: Buffer.from('12345678') });
    peer.send(f.ping(true), get());
    await peer.seeType(FrameType.HEADERS, 1);
    expect(peer.frames.filter(({ type }) => type === FrameType.PING).length).toBe(1);
  });

  it('§5.4.1 closes after GOAWAY, which names the last stream', async () => {
    const peer = served.connect();
    peer.send(post(1), post(3), f.data(0, 'a'));
    const goaway = await peer.seeType(FrameType.GOAWAY);
    expect(goaway.payload.readUInt32BE(0)).toBe(3);
    await peer.closed;
  });

  it('§6.9.2 sends nothing at a zero window, and what it allows when it opens', async () => {
    const peer = served.connect(Buffer.concat([PREFACE, f.settings([4, 0])]));
    peer.send(post(), f.data(1, 'hello', true), f.ping());
    await peer.see(({ type, flags }) => type === FrameType.PING && flags === Flag.ACK);
    expect(peer.frames.some(({ type }) => type === FrameType.DATA)).toBe(false);
    peer.send(f.windowUpdate(1, 1));
    expect(await peer.seeType(FrameType.DATA)).toMatchObject({ payload: Buffer.from('h') });
    peer.send(f.settings([4, 1]));
    await peer.see(({ type, payload }) => type === FrameType.DATA && payload.toString() === 'e');
    peer.send(f.settings([4, 0]), f.windowUpdate(1, 100));
    await peer.see(({ type, flags }) => type === FrameType.DATA && flags === Flag.END_STREAM);
    expect(
      Buffer.concat(peer.frames.filter(({ type }) => type === FrameType.DATA).map(({ payload }) => payload)).toString(),
    ).toBe('hello');
  });

  it('§6.9.1 ends a connection that sends beyond its window, while the handler reads nothing', async () => {
    await served.close();
    served = await Served.start((stream) => stream.pause(), { connectionWindowBytes: 100_000 });
    const peer = served.connect();
    peer.send(
      post(1),
      post(3),
      f.data(1, Buffer.alloc(16_384)),
      f.data(1, Buffer.alloc(16_384)),
      f.data(1, Buffer.alloc(16_384)),
      f.data(1, Buffer.alloc(16_383)),
    );
    peer.send(f.data(3, Buffer.alloc(16_384)), f.data(3, Buffer.alloc(16_384)), f.data(3, Buffer.alloc(16_384)));
    expect(await peer.seeType(FrameType.GOAWAY)).toMatchObject({ code: ErrorCode.FLOW_CONTROL_ERROR });
  });

  it('§8.1 answers before the request is complete: a short rest is read, a long one is stopped with NO_ERROR', async () => {
    await served.close();
    const heard: string[] = [];
    served = await Served.start((stream) => {
      stream.events = {
        onData: () => void heard.push('data'),
        onEnd: () => void heard.push('end'),
        onReset: () => void heard.push('reset'),
      };
      stream.respond(413, [], true);
    });
    const peer = served.connect();
    peer.send(post(1), post(3), f.data(1, 'a'), f.data(1, 'b', true), f.data(3, Buffer.alloc(16_384)));
    peer.send(f.data(3, Buffer.alloc(16_384)), f.data(3, Buffer.alloc(16_384)), f.ping());
    await peer.seeType(FrameType.PING);
    expect(served.server.counters.streams).toBe(1);
    peer.send(f.data(3, 'c'), f.data(3, 'on its way', true), get(5));
    expect(await peer.seeType(FrameType.RST_STREAM)).toMatchObject({ streamId: 3, code: ErrorCode.NO_ERROR });
    await peer.seeType(FrameType.HEADERS, 5);
    expect(served.server.counters).toMatchObject({ streams: 0, connectionErrors: 0 });
    expect(heard).toEqual([]);
  });

  it('§8.1 answers before the request is complete: a rest that does not come is waited for a moment', async () => {
    await served.close();
    served = await Served.start((stream) => stream.respond(413, [], true), { idleTimeoutMs: 400 });
    const peer = served.connect();
    peer.send(post());
    expect(await peer.seeType(FrameType.RST_STREAM, 1)).toMatchObject({ code: ErrorCode.NO_ERROR });
    expect(served.server.counters).toMatchObject({ streams: 0, bodyTimeouts: 0 });
  });

  it('§6.9 gives credit back for what it does not read', async () => {
    await served.close();
    // Bodies that are held when the answer is complete, of the wrong length, padded, and after END_STREAM.
    served = await Served.start(
      (stream) => {
        stream.pause();
        if (stream.method === 'POST') setImmediate(() => stream.finished || stream.respond(200, [], true));
      },
      { connectionWindowBytes: 65_535 },
    );
    const peer = served.connect();
    const bodies = [f.data(1, Buffer.alloc(16_000)), f.data(1, Buffer.alloc(16_000), true)];
    for (let id = 1; id < 200; id += 8) {
      peer.send(post(id), ...bodies.map((body) => ofStream(body, id)));
      peer.send(post(id + 2, [['content-length', '1']]), ofStream(bodies[0]!, id + 2));
      peer.send(get(id + 4), ofStream(bodies[0]!, id + 4));
      const padded = Buffer.concat([Buffer.from([255]), Buffer.alloc(255)]);
      peer.send(post(id + 6), f.frame(FrameType.DATA, Flag.PADDED | Flag.END_STREAM, id + 6, padded));
      await peer.seeType(FrameType.HEADERS, id + 6);
      await peer.seeType(FrameType.HEADERS, id);
    }
    expect(served.server.counters.connectionErrors).toBe(0);
  });

  it('§5.4.2 answers no RST_STREAM, and sends nothing on a stream after it', async () => {
    const peer = served.connect();
    peer.send(post(), f.data(1, 'a'), f.reset(1, ErrorCode.CANCEL), f.reset(1, ErrorCode.CANCEL), get(3));
    await peer.seeType(FrameType.HEADERS, 3);
    expect(peer.frames.filter(({ streamId, type }) => streamId === 1 && type === FrameType.RST_STREAM)).toEqual([]);
    const before = peer.frames.filter(({ streamId }) => streamId === 1).length;
    peer.send(f.ping());
    await peer.seeType(FrameType.PING);
    expect(peer.frames.filter(({ streamId }) => streamId === 1).length).toBe(before);
  });

  it('§6.5.3 applies settings in their order', async () => {
    const peer = served.connect(Buffer.concat([PREFACE, f.settings([4, 100], [4, 1])]));
    peer.send(post(), f.data(1, 'hello', true));
    expect(await peer.seeType(FrameType.DATA)).toMatchObject({ payload: Buffer.from('h') });
  });

  it('§6.9.2 keeps count of a window below zero', async () => {
    const peer = served.connect(Buffer.concat([PREFACE, f.settings([4, 3])]));
    peer.send(post(), f.data(1, 'hello', true));
    expect(await peer.seeType(FrameType.DATA)).toMatchObject({ payload: Buffer.from('hel') });
    peer.send(f.settings([4, 2]), f.windowUpdate(1, 1), f.ping());
    await peer.seeType(FrameType.PING);
    expect(peer.frames.filter(({ type }) => type === FrameType.DATA).length).toBe(1);
    peer.send(f.windowUpdate(1, 1));
    await peer.see(({ type, payload }) => type === FrameType.DATA && payload.toString() === 'l');
  });

  it('§6.2, §4.2 sends no frame above the client’s SETTINGS_MAX_FRAME_SIZE', async () => {
    await served.close();
    served = await Served.start((stream) => {
      stream.respond(200, [['x-long', 'y'.repeat(40_000)]]);
      stream.write(Buffer.alloc(40_000));
      stream.trailers([['x-long', 'z'.repeat(40_000)]]);
    });
    const peer = served.connect();
    peer.send(get());
    await peer.see(({ type, flags }) => type === FrameType.HEADERS && (flags & Flag.END_STREAM) !== 0);
    await peer.see(({ type, flags }) => type === FrameType.CONTINUATION && (flags & Flag.END_HEADERS) !== 0);
    expect(Math.max(...peer.frames.map(({ payload }) => payload.length))).toBe(16_384);
  });

  it('§6.8 drains: takes what is on its way, finishes what runs, then closes', async () => {
    await served.close();
    const held: (() => void)[] = [];
    served = await Served.start((stream) => held.push(() => stream.respond(200, [], true)));
    const peer = served.connect();
    peer.send(get(1));
    await expect.poll(() => held.length).toBe(1);
    const closing = served.server.close(5_000);
    const first = await peer.seeType(FrameType.GOAWAY);
    expect(first.payload.readUInt32BE(0)).toBe(2 ** 31 - 1);
    peer.send(get(3), f.ping(true));
    const second = await peer.see(({ type, payload }) => type === FrameType.GOAWAY && payload.readUInt32BE(0) === 3);
    expect(second).toMatchObject({ code: ErrorCode.NO_ERROR });
    peer.send(get(5));
    for (const finish of held) finish();
    await peer.seeType(FrameType.HEADERS, 3);
    await closing;
    expect(peer.frames.some(({ type, streamId }) => type === FrameType.HEADERS && streamId === 5)).toBe(false);
  });

  it('§6.8 ignores what still comes on streams after the last one, but for the window it takes', async () => {
    await served.close();
    const held: (() => void)[] = [];
    served = await Served.start((stream) => held.push(() => stream.respond(200, [], true)), {
      connectionWindowBytes: 65_535,
    });
    const peer = served.connect();
    peer.send(get(1));
    await expect.poll(() => held.length).toBe(1);
    const closing = served.server.close(5_000);
    await peer.seeType(FrameType.GOAWAY);
    peer.send(f.ping(true));
    await peer.see(({ type, payload }) => type === FrameType.GOAWAY && payload.readUInt32BE(0) === 1);
    peer.send(post(3), post(5), post(7), post(9));
    for (let sent = 0; sent < 10; sent++) {
      peer.send(f.data(3, Buffer.alloc(16_000)), f.windowUpdate(5, 100));
      await expect
        .poll(() => {
          const updates = peer.frames.filter(
            ({ type, streamId }) => type === FrameType.WINDOW_UPDATE && streamId === 0,
          );
          return 65_535 + updates.reduce((sum, { payload }) => sum + payload.readUInt32BE(0), 0) - 16_000 * (sent + 1);
        })
        .toBeGreaterThan(16_000);
    }
    peer.send(f.data(3, '', true), f.headers(5, [['x', 'y']], true), f.reset(7, ErrorCode.CANCEL), get(11));
    peer.send(f.frame(FrameType.PING, 0, 0, Buffer.from('the end.')));
    await peer.see(({ type, payload }) => type === FrameType.PING && payload.toString() === 'the end.');
    for (const finish of held) finish();
    await peer.seeType(FrameType.HEADERS, 1);
    await closing;
    expect(held.length).toBe(1);
    expect(served.server.counters).toMatchObject({ connectionErrors: 0, requests: 1 });
  });

  it('§8.1 counts no request against the concurrent streams that was answered before it was complete', async () => {
    await served.close();
    served = await Served.start((stream) => stream.respond(200, [], true), { maxConcurrentStreams: 2 });
    const peer = served.connect();
    for (let id = 1; id < 40; id += 2) peer.send(post(id));
    await peer.seeType(FrameType.HEADERS, 39);
    expect(served.server.counters).toMatchObject({ refusedStreams: 0, requests: 20 });
    const resets = peer.frames.filter(({ type }) => type === FrameType.RST_STREAM);
    expect(resets.length).toBeGreaterThanOrEqual(18);
    for (const { code } of resets) expect(code).toBe(ErrorCode.NO_ERROR);
    // The client may have sent more of them before it knew.
    peer.send(f.data(1, 'abc'), f.data(3, 'abc', true), f.ping());
    await peer.see(({ type, flags }) => type === FrameType.PING && (flags & Flag.ACK) !== 0);
  });

  it('gives the fields as they came, in order, and joins cookies when asked', async () => {
    const peer = served.connect();
    const more: Fields = [
      ['cookie', 'a=1'],
      ['authorization', 'x'],
      ['Cookie'.toLowerCase(), 'b=2'],
      ['authorization', 'y'],
    ];
    peer.send(get(1, more));
    await peer.seeType(FrameType.HEADERS, 1);
    expect(served.requests[0]).toMatchObject({
      method: 'GET',
      path: '/',
      scheme: 'http',
      authority: 'a',
      fields: more,
      endStream: true,
    });
  });

  it('refuses to send what must not travel', async () => {
    await served.close();
    const errors: unknown[] = [];
    served = await Served.start((stream) => {
      const bad: Field[] = [
        ['connection', 'close'],
        ['X', 'y'],
        ['x', 'a\nb'],
        ['', ''],
        ['x', '\u010a'],
        [':status', '200'],
      ];
      for (const one of bad) {
        try {
          stream.respond(200, [one]);
        } catch (error) {
          errors.push(error);
        }
      }
      stream.respond(103, [['link', '</a>']]);
      stream.respond(200, [
        ['set-cookie', 'a'],
        ['set-cookie', 'b'],
      ]);
      stream.trailers([['x', 'y']]);
    });
    const peer = served.connect();
    peer.send(get());
    const final = await peer.see(({ fields }) => fields?.[0]?.[1] === '200');
    expect(final.fields).toEqual([
      [':status', '200'],
      ['set-cookie', 'a'],
      ['set-cookie', 'b'],
    ]);
    expect(
      await peer.see(({ type, flags }) => type === FrameType.HEADERS && (flags & Flag.END_STREAM) !== 0),
    ).toMatchObject({ fields: [['x', 'y']] });
    expect(errors.length).toBe(6);
    for (const error of errors) expect(error).toBeInstanceOf(TypeError);
  });
});
