/** RFC 9113 §§3–8 and RFC 7541, as far as they bind a server: each row is one rule, by its section. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Field, Fields } from '../fields.js';
import { ErrorCode } from '../http2/errors.js';
import { Flag, FrameType, PREFACE } from '../http2/frames.js';
import * as f from '../testing/frames.js';
import type { PeerConnection } from '../testing/scripted-peer.js';
import { echo, Served } from '../testing/served.js';
import { timersSet } from '../timers/wheel.js';

let served: Served;

beforeEach(async () => {
  served = await Served.start(echo, {
    maxConcurrentStreams: 3,
    maxHeaderListBytes: 4096,
    connectionWindowBytes: 65_535,
  });
});

afterEach(async () => {
  await served.close();
  expect(served.server.counters).toMatchObject({ open: 0, streams: 0 });
  expect(timersSet()).toBe(0);
});

const GET: Fields = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', '/'],
  [':authority', 'a'],
];
const POST: Fields = [[':method', 'POST'], ...GET.slice(1)];
const without = (name: string): Fields => GET.filter((field) => field[0] !== name);
const get = (id = 1, more: Fields = []): Buffer => f.headers(id, [...GET, ...more], true);
const post = (id = 1, more: Fields = []): Buffer => f.headers(id, [...POST, ...more]);
const malformed = (fields: Fields): Row => ({ sends: [f.headers(1, fields, true)], reset: ErrorCode.PROTOCOL_ERROR });
const field = (...more: Field[]): Row => malformed([...GET, ...more]);

interface Row {
  readonly sends: readonly Buffer[];
  /** RST_STREAM on stream 1 (or `on`), GOAWAY, or a response's status. */
  readonly reset?: number;
  readonly goaway?: number;
  readonly status?: string;
  readonly on?: number;
}

const RULES: Record<string, Row> = {
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
    sends: [f.headers(1, [...POST, ['x-hold', '1']], true), f.data(1, 'a')],
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
    sends: [f.headers(1, [...POST, ['x-hold', '1']], true), f.headers(1, [], true)],
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
    sends: [post(), f.windowUpdate(1, 2 ** 31 - 1 - 65_535), f.settings([4, 65_536])],
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
  '§8.1 trailers without END_STREAM': { sends: [post(), f.headers(1, [['x', 'y']])], reset: ErrorCode.PROTOCOL_ERROR },
  '§8.1 trailers are taken': { sends: [post(), f.data(1, 'a'), f.headers(1, [['x', 'y']], true)], status: '200' },
  '§8.1 pseudo-fields in trailers': {
    sends: [post(), f.headers(1, [[':method', 'GET']], true)],
    reset: ErrorCode.PROTOCOL_ERROR,
  },
  '§8.1.1 content-length above the body': {
    sends: [post(1, [['content-length', '2']]), f.data(1, 'a', true)],
    reset: ErrorCode.PROTOCOL_ERROR,
  },
  '§8.1.1 content-length below the body': {
    sends: [post(1, [['content-length', '1']]), f.data(1, 'ab')],
    reset: ErrorCode.PROTOCOL_ERROR,
  },
  '§8.1.1 content-length above the body, with trailers': {
    sends: [post(1, [['content-length', '2']]), f.data(1, 'a'), f.headers(1, [], true)],
    reset: ErrorCode.PROTOCOL_ERROR,
  },
  '§8.1.1 content-length without a body': {
    sends: [get(1, [['content-length', '1']])],
    reset: ErrorCode.PROTOCOL_ERROR,
  },
  '§8.1.1 two content-length that differ': field(['content-length', '0'], ['content-length', '1']),
  '§8.1.1 a content-length that is none': field(['content-length', '-1']),
  '§8.2 an upper-case name': field(['X-A', 'b']),
  '§8.2.1 a name with a space': field(['x a', 'b']),
  '§8.2.1 an empty name': field(['', 'b']),
  '§8.2.1 a name above 7 bits': field(['\u00e9', 'b']),
  '§8.2.1 NUL in a value': field(['x', 'a\0b']),
  '§8.2.1 CR in a value': field(['x', 'a\rb']),
  '§8.2.1 LF in a value': field(['x', 'a\nb']),
  '§8.2.1 a value that begins with a space': field(['x', ' a']),
  '§8.2.1 a value that ends with a tab': field(['x', 'a\t']),
  '§8.2.2 connection': field(['connection', 'close']),
  '§8.2.2 keep-alive': field(['keep-alive', '1']),
  '§8.2.2 proxy-connection': field(['proxy-connection', 'close']),
  '§8.2.2 transfer-encoding': field(['transfer-encoding', 'chunked']),
  '§8.2.2 upgrade': field(['upgrade', 'h2c']),
  '§8.2.2 te other than trailers': field(['te', 'gzip']),
  '§8.2.2 te: trailers': { sends: [get(1, [['te', 'trailers']])], status: '200' },
  '§8.3 an unknown pseudo-field': malformed([...GET, [':test', 'a']]),
  '§8.3 a response pseudo-field': malformed([...GET, [':status', '200']]),
  '§8.3 a pseudo-field after a regular one': malformed([['x', 'y'], ...GET]),
  '§8.3.1 no :method': malformed(without(':method')),
  '§8.3.1 no :scheme': malformed(without(':scheme')),
  '§8.3.1 no :path': malformed(without(':path')),
  '§8.3.1 no :authority is allowed': { sends: [f.headers(1, without(':authority'), true)], status: '200' },
  '§8.3.1 an empty :path': malformed([...without(':path'), [':path', '']]),
  '§8.3.1 a :path without slash': malformed([...without(':path'), [':path', 'a']]),
  '§8.3.1 two :method': malformed([...GET, [':method', 'GET']]),
  '§8.3.1 two :scheme': malformed([...GET, [':scheme', 'http']]),
  '§8.3.1 two :path': malformed([...GET, [':path', '/']]),
  '§8.3.1 two :authority': malformed([...GET, [':authority', 'a']]),
  '§8.3.1 OPTIONS *': {
    sends: [
      f.headers(
        1,
        [
          [':method', 'OPTIONS'],
          [':scheme', 'http'],
          [':path', '*'],
        ],
        true,
      ),
    ],
    status: '200',
  },
  '§8.5 CONNECT with :path': malformed([[':method', 'CONNECT'], ...GET.slice(1)]),
  '§8.5 CONNECT is not offered': {
    sends: [
      f.headers(
        1,
        [
          [':method', 'CONNECT'],
          [':authority', 'a:1'],
        ],
        true,
      ),
    ],
    status: '501',
  },
  '§10.5.1 a header list above the limit': {
    sends: [
      get(1, [
        ['a', 'x'.repeat(2100)],
        ['b', 'y'.repeat(2100)],
      ]),
    ],
    status: '431',
  },
  '§10.5.1 too many fields': {
    sends: [
      get(
        1,
        Array.from({ length: 101 }, () => ['a', ''] as const),
      ),
    ],
    status: '431',
  },
  'RFC 7541 §2.3.3 index 0': {
    sends: [f.frame(FrameType.HEADERS, 0x5, 1, Buffer.from([0x80]))],
    goaway: ErrorCode.COMPRESSION_ERROR,
  },
  'RFC 7541 §2.3.3 an index beyond the tables': {
    sends: [f.frame(FrameType.HEADERS, 0x5, 1, Buffer.from([0xff, 0x20]))],
    goaway: ErrorCode.COMPRESSION_ERROR,
  },
  'RFC 7541 §4.2 a size update at the end': {
    sends: [f.frame(FrameType.HEADERS, 0x5, 1, Buffer.concat([f.block(GET), Buffer.from([0x20])]))],
    goaway: ErrorCode.COMPRESSION_ERROR,
  },
  'RFC 7541 §5.2 padding of zeros': {
    sends: [f.frame(FrameType.HEADERS, 0x5, 1, Buffer.concat([f.block(GET), Buffer.from([0, 1, 0x61, 0x81, 0])]))],
    goaway: ErrorCode.COMPRESSION_ERROR,
  },
  'RFC 7541 §5.2 EOS': {
    sends: [
      f.frame(
        FrameType.HEADERS,
        0x5,
        1,
        Buffer.concat([f.block(GET), Buffer.from([0, 1, 0x61, 0x84, 0xff, 0xff, 0xff, 0xff])]),
      ),
    ],
    goaway: ErrorCode.COMPRESSION_ERROR,
  },
  'RFC 7541 §6.3 a size above the setting': {
    sends: [f.frame(FrameType.HEADERS, 0x5, 1, Buffer.concat([Buffer.from([0x3f, 0xe2, 0x1f]), f.block(GET)]))],
    goaway: ErrorCode.COMPRESSION_ERROR,
  },
};

function reserved(bytes: Buffer): Buffer {
  bytes[5] = bytes[5]! | 0x80;
  return bytes;
}

async function check(peer: PeerConnection, row: Row): Promise<void> {
  if (row.goaway !== undefined) {
    expect(await peer.seeType(FrameType.GOAWAY)).toMatchObject({ code: row.goaway });
    await peer.closed;
  }
  if (row.reset !== undefined)
    expect(await peer.seeType(FrameType.RST_STREAM, row.on ?? 1)).toMatchObject({ code: row.reset });
  if (row.status !== undefined) {
    const response = await peer.seeType(FrameType.HEADERS, row.on ?? 1);
    expect(response.fields![0]).toEqual([':status', row.status]);
  }
}

describe('RFC 9113 and RFC 7541, the server', () => {
  for (const [name, row] of Object.entries(RULES)) {
    it(`${name}`, async () => {
      // Requests that say so are not answered, so that their streams stay half-closed.
      await served.close();
      served = await Served.start(
        (stream) => (stream.fields.some(([at]) => at === 'x-hold') ? undefined : echo(stream)),
        {
          maxConcurrentStreams: 3,
          maxHeaderListBytes: 4096,
        },
      );
      const peer = served.connect();
      peer.send(...row.sends);
      await check(peer, row);
    });
  }

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

  it('§8.1 resets a request with NO_ERROR when its response was complete before it', async () => {
    await served.close();
    served = await Served.start((stream) => stream.respond(413, [], true));
    const peer = served.connect();
    peer.send(post(), f.data(1, 'a'));
    await peer.seeType(FrameType.HEADERS, 1);
    expect(await peer.seeType(FrameType.RST_STREAM, 1)).toMatchObject({ code: ErrorCode.NO_ERROR });
    // Data that was on its way is dropped without harm.
    peer.send(f.data(1, 'b', true), get(3));
    await peer.seeType(FrameType.HEADERS, 3);
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
