/** Each defence: what a client does, which counter tells of it, and how the connection ends. */
import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import type { Fields } from '../fields.js';
import { ErrorCode } from '../http2/errors.js';
import { Flag, FrameType, PREFACE } from '../http2/frames.js';
import * as f from '../testing/frames.js';
import type { PeerConnection } from '../testing/scripted-peer.js';
import { echo, Served } from '../testing/served.js';
import { timersSet } from '../timers/wheel.js';
import type { Http2ServerCounters, Http2ServerOptions } from './server-options.js';
import type { ServerStream } from './server-stream.js';

let served: Served;

afterEach(async () => {
  await served.close();
  expect(served.server.counters).toMatchObject({ open: 0, streams: 0 });
  expect(timersSet()).toBe(0);
});

const POST: Fields = [
  [':method', 'POST'],
  [':scheme', 'http'],
  [':path', '/'],
  [':authority', 'a'],
];
const many = (count: number, make: (at: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, at) => make(at)));
const hold = (): void => {};

interface Row {
  /** The setting that bounds it. */
  readonly setting: keyof Http2ServerOptions;
  readonly options?: Http2ServerOptions;
  readonly handler?: (stream: ServerStream) => void;
  readonly preface?: Buffer;
  readonly attack: (peer: PeerConnection) => void | Promise<void>;
  readonly counter: keyof Http2ServerCounters;
  readonly goaway?: number;
  readonly reset?: number;
  readonly status?: string;
}

const CALM = ErrorCode.ENHANCE_YOUR_CALM;

/** Frames that break a rule on a stream with a request at work (CVE-2025-8671), and whether its body may still come. */
const PROVOKED: Record<string, [body: boolean, provoke: (id: number) => Buffer]> = {
  'WINDOW_UPDATE of 0': [false, (id) => f.windowUpdate(id, 0)],
  'a window above 2^31-1': [false, (id) => f.windowUpdate(id, 2 ** 31 - 1)],
  'DATA after END_STREAM': [false, (id) => f.data(id, 'a')],
  'HEADERS after END_STREAM': [false, (id) => f.headers(id, [], true)],
  'PRIORITY of 4 octets': [false, (id) => f.frame(FrameType.PRIORITY, 0, id, Buffer.alloc(4))],
  'PRIORITY that depends on itself': [
    false,
    (id) => f.frame(FrameType.PRIORITY, 0, id, f.uint32(id, 0).subarray(0, 5)),
  ],
  'trailers without END_STREAM': [true, (id) => f.headers(id, [['x', 'y']])],
};

const FLOODS: Record<string, Row> = {
  'rapid reset': {
    setting: 'resets',
    attack: (peer) =>
      peer.send(
        many(1_000, (at) => Buffer.concat([f.headers(at * 2 + 1, POST, true), f.reset(at * 2 + 1, ErrorCode.CANCEL)])),
      ),
    handler: hold,
    counter: 'resetFloods',
    goaway: CALM,
  },
  ...Object.fromEntries(
    Object.entries(PROVOKED).map(([name, [body, provoke]]): [string, Row] => [
      `resets of ours, provoked by ${name}`,
      {
        setting: 'resets',
        attack: (peer) =>
          peer.send(many(600, (at) => Buffer.concat([f.headers(at * 2 + 1, POST, !body), provoke(at * 2 + 1)]))),
        handler: hold,
        counter: 'resetFloods',
        goaway: CALM,
      },
    ]),
  ),
  'malformed requests': {
    setting: 'errors',
    attack: (peer) => peer.send(many(2_000, (at) => f.headers(at * 2 + 1, [[':method', 'GET']], true))),
    counter: 'errorFloods',
    goaway: CALM,
  },
  'requests above the concurrent streams': {
    setting: 'errors',
    attack: (peer) => peer.send(many(2_000, (at) => f.headers(at * 2 + 1, POST))),
    handler: hold,
    counter: 'errorFloods',
    goaway: CALM,
  },
  'empty CONTINUATION': {
    setting: 'maxContinuations',
    attack: (peer) =>
      peer.send(
        f.frame(FrameType.HEADERS, 0, 1),
        many(100, () => f.frame(FrameType.CONTINUATION, 0, 1)),
      ),
    counter: 'continuationFloods',
    goaway: CALM,
  },
  'a header block without end': {
    setting: 'maxHeaderListBytes',
    attack: (peer) =>
      peer.send(
        f.frame(FrameType.HEADERS, 0, 1),
        many(10, () => f.frame(FrameType.CONTINUATION, 0, 1, Buffer.alloc(16_000))),
      ),
    counter: 'continuationFloods',
    goaway: CALM,
  },
  SETTINGS: {
    setting: 'settings',
    attack: (peer) => peer.send(many(50, () => f.settings())),
    counter: 'settingsFloods',
    goaway: CALM,
  },
  PING: {
    setting: 'pings',
    attack: (peer) => peer.send(many(200, () => f.ping())),
    counter: 'pingFloods',
    goaway: CALM,
  },
  'empty DATA': {
    setting: 'emptyData',
    attack: (peer) =>
      peer.send(
        f.headers(1, POST),
        many(200, () => f.data(1, '')),
      ),
    handler: hold,
    counter: 'emptyDataFloods',
    goaway: CALM,
  },
  WINDOW_UPDATE: {
    setting: 'windowUpdates',
    attack: (peer) =>
      peer.send(
        f.headers(1, POST),
        many(4_000, () => f.windowUpdate(1, 1)),
      ),
    handler: hold,
    counter: 'windowUpdateFloods',
    goaway: CALM,
  },
  PRIORITY: {
    setting: 'idleFrames',
    attack: (peer) => peer.send(many(2_000, () => f.frame(FrameType.PRIORITY, 0, 1, Buffer.alloc(5)))),
    counter: 'idleFrameFloods',
    goaway: CALM,
  },
  'acknowledgements of nothing': {
    setting: 'idleFrames',
    attack: (peer) => peer.send(many(1_000, () => Buffer.concat([f.ping(true), f.settingsAck]))),
    counter: 'idleFrameFloods',
    goaway: CALM,
  },
  'GOAWAY again and again': {
    setting: 'idleFrames',
    attack: (peer) =>
      peer.send(
        f.headers(1, POST),
        many(2_000, () => f.goaway(0, 0)),
      ),
    handler: hold,
    counter: 'idleFrameFloods',
    goaway: CALM,
  },
  'unknown frames': {
    setting: 'idleFrames',
    attack: (peer) => peer.send(many(2_000, () => f.frame(0xbe, 0, 0))),
    counter: 'idleFrameFloods',
    goaway: CALM,
  },
  'an HPACK bomb': {
    setting: 'maxHeaderListBytes',
    // One entry of 4 KB in the table, then thousands of references to it.
    attack: (peer) => {
      const entry = Buffer.concat([
        f.block(POST),
        Buffer.from([0x40, 1, 0x78, 0x7f, 0xb1, 0x1e]),
        Buffer.alloc(4016, 0x61),
      ]);
      peer.send(f.frame(FrameType.HEADERS, 0x5, 1, Buffer.concat([entry, Buffer.alloc(10_000, 0xbe)])));
    },
    counter: 'headersTooLarge',
  },
  'answers without a body that are not read': {
    setting: 'maxHeldBytes',
    options: { maxHeldBytes: 100_000 },
    attack: (peer) => {
      peer.socket.pause();
      peer.send(many(100_000, (at) => f.headers(at * 2 + 1, POST, true)));
    },
    handler: (stream) => stream.respond(204, [['x-long', 'y'.repeat(100)]], true),
    counter: 'unreadAnswers',
  },
  'answers that are not read': {
    setting: 'maxHeldBytes',
    options: { maxHeldBytes: 1_000, pings: { burst: 1e9, perSecond: 1 } },
    attack: (peer) => {
      peer.socket.pause();
      peer.send(many(500_000, () => f.ping()));
    },
    counter: 'unreadAnswers',
  },
};

const SLOW: Record<string, Row> = {
  'no preface': {
    setting: 'prefaceTimeoutMs',
    options: { prefaceTimeoutMs: 40 },
    preface: PREFACE.subarray(0, 10),
    attack: hold,
    counter: 'prefaceTimeouts',
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  'a preface without SETTINGS': {
    setting: 'prefaceTimeoutMs',
    options: { prefaceTimeoutMs: 40 },
    preface: PREFACE,
    attack: hold,
    counter: 'prefaceTimeouts',
    goaway: ErrorCode.PROTOCOL_ERROR,
  },
  'no acknowledgement of SETTINGS': {
    setting: 'settingsTimeoutMs',
    options: { settingsTimeoutMs: 40 },
    attack: hold,
    counter: 'settingsTimeouts',
    goaway: ErrorCode.SETTINGS_TIMEOUT,
  },
  'a header block without its end': {
    setting: 'headersTimeoutMs',
    options: { headersTimeoutMs: 40 },
    attack: (peer) => peer.send(f.frame(FrameType.HEADERS, 0, 1, f.block(POST))),
    counter: 'headersTimeouts',
    goaway: CALM,
  },
  'half a frame': {
    setting: 'headersTimeoutMs',
    options: { headersTimeoutMs: 40 },
    attack: (peer) => peer.send(f.headers(1, POST).subarray(0, 12)),
    counter: 'headersTimeouts',
    goaway: CALM,
  },
  'half a body': {
    setting: 'bodyTimeoutMs',
    options: { bodyTimeoutMs: 40 },
    attack: (peer) => peer.send(f.headers(1, POST), f.data(1, 'a')),
    handler: hold,
    counter: 'bodyTimeouts',
    reset: ErrorCode.CANCEL,
  },
  'a zero window': {
    setting: 'writeTimeoutMs',
    options: { writeTimeoutMs: 40 },
    preface: Buffer.concat([PREFACE, f.settings([4, 0])]),
    attack: (peer) => peer.send(f.headers(1, POST), f.data(1, 'a', true)),
    handler: echo,
    counter: 'writeTimeouts',
    reset: ErrorCode.CANCEL,
  },
  'an octet of window now and then': {
    setting: 'leastWriteRate',
    options: { writeTimeoutMs: 200, leastWriteRate: 1_000 },
    preface: Buffer.concat([PREFACE, f.settings([4, 0])]),
    attack: (peer) => {
      peer.send(f.headers(1, POST), f.data(1, 'x'.repeat(1_000), true));
      const timer = setInterval(() => peer.send(f.windowUpdate(1, 1)), 20);
      void peer.closed.then(() => clearInterval(timer));
    },
    handler: echo,
    counter: 'writeTimeouts',
    reset: ErrorCode.CANCEL,
  },
  'a socket that is not read': {
    setting: 'writeTimeoutMs',
    options: { writeTimeoutMs: 80 },
    preface: Buffer.concat([PREFACE, f.settings([4, 2 ** 31 - 1]), f.windowUpdate(0, 2 ** 30)]),
    attack: (peer) => {
      peer.socket.pause();
      peer.send(f.headers(1, POST, true));
    },
    handler: (stream) => {
      stream.respond(200, []);
      for (let at = 0; at < 400; at++) stream.write(Buffer.alloc(65_536));
    },
    counter: 'writeTimeouts',
  },
  'an idle connection': {
    setting: 'idleTimeoutMs',
    options: { idleTimeoutMs: 40 },
    attack: hold,
    counter: 'idleTimeouts',
    goaway: ErrorCode.NO_ERROR,
  },
};

const SIZES: Record<string, Row> = {
  'more fields than allowed': {
    setting: 'maxHeaderCount',
    attack: (peer) =>
      peer.send(f.headers(1, [...POST, ...Array.from({ length: 101 }, () => ['a', 'b'] as const)], true)),
    counter: 'headersTooLarge',
    status: '431',
  },
  'a header list above the size': {
    setting: 'maxHeaderListBytes',
    attack: (peer) => {
      const block = f.block([...POST, ['a', 'x'.repeat(20_000)], ['b', 'x'.repeat(20_000)]]);
      peer.send(
        f.frame(FrameType.HEADERS, Flag.END_STREAM, 1, block.subarray(0, 16_000)),
        f.frame(FrameType.CONTINUATION, 0, 1, block.subarray(16_000, 32_000)),
        f.frame(FrameType.CONTINUATION, Flag.END_HEADERS, 1, block.subarray(32_000)),
      );
    },
    counter: 'headersTooLarge',
    status: '431',
  },
  'more streams than allowed': {
    setting: 'maxConcurrentStreams',
    options: { maxConcurrentStreams: 2 },
    attack: (peer) => peer.send(many(3, (at) => f.headers(at * 2 + 1, POST))),
    handler: hold,
    counter: 'refusedStreams',
    reset: ErrorCode.REFUSED_STREAM,
  },
  'a body above the window of its stream': {
    setting: 'streamWindowBytes',
    options: { streamWindowBytes: 20_000 },
    attack: (peer) => peer.send(f.headers(1, POST), f.data(1, Buffer.alloc(16_000)), f.data(1, Buffer.alloc(16_000))),
    handler: (stream) => stream.pause(),
    counter: 'windowOverruns',
    reset: ErrorCode.FLOW_CONTROL_ERROR,
  },
  'bodies above the window of the connection': {
    setting: 'connectionWindowBytes',
    options: { connectionWindowBytes: 65_535 },
    attack: (peer) =>
      peer.send(
        many(5, (at) => Buffer.concat([f.headers(at * 2 + 1, POST), f.data(at * 2 + 1, Buffer.alloc(16_000))])),
      ),
    handler: (stream) => stream.pause(),
    counter: 'windowOverruns',
    goaway: ErrorCode.FLOW_CONTROL_ERROR,
  },
  'a malformed request': {
    setting: 'errors',
    attack: (peer) => peer.send(f.headers(1, [[':method', 'GET']], true)),
    counter: 'malformed',
    reset: ErrorCode.PROTOCOL_ERROR,
  },
};

const KINDS = { floods: FLOODS, 'slow clients': SLOW, sizes: SIZES };

for (const [kind, rows] of Object.entries(KINDS)) {
  describe(`${kind}`, () => {
    for (const [name, row] of Object.entries(rows)) {
      it(`${name}`, async () => {
        served = await Served.start(row.handler ?? echo, row.options);
        const peer = served.connect(row.preface);
        await row.attack(peer);
        await expect.poll(() => served.server.counters[row.counter]).toBeGreaterThan(0);
        if (row.goaway !== undefined) {
          expect(await peer.seeType(FrameType.GOAWAY)).toMatchObject({ code: row.goaway });
          await peer.closed;
        }
        if (row.reset !== undefined)
          expect(await peer.seeType(FrameType.RST_STREAM)).toMatchObject({ code: row.reset });
        if (row.status !== undefined)
          expect((await peer.seeType(FrameType.HEADERS)).fields![0]).toEqual([':status', row.status]);
      });
    }
  });
}

describe('every bound', () => {
  const rows = Object.values(KINDS).flatMap((all) => Object.values(all));
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
  const table = readme.slice(readme.indexOf('### Defences'), readme.indexOf('## Checks'));

  it('has a setting with a default, a counter, a test and its line in the README', async () => {
    served = await Served.start(hold);
    const { settings, counters } = served.server;
    expect([...new Set(rows.map(({ setting }) => setting))].toSorted()).toEqual(Object.keys(settings).toSorted());
    // What these count is not a bound that was hit, or is more than one.
    const totals = ['connections', 'open', 'streams', 'requests', 'clientResets', 'connectionErrors'];
    const bounds = Object.keys(counters).filter((name) => !totals.includes(name));
    expect([...new Set(rows.map(({ counter }) => counter))].toSorted()).toEqual(bounds.toSorted());
    for (const name of [...Object.keys(settings), ...bounds]) expect(table, name).toContain(`\`${name}\``);
  });
});

describe('what is not an attack', () => {
  it('a download of many WINDOW_UPDATEs and PINGs', async () => {
    served = await Served.start((stream) => {
      let left = 2_000;
      stream.respond(200, []);
      const events = {
        onData: hold,
        onEnd: hold,
        onReset: hold,
        onDrain(): void {
          while (left > 0) {
            left--;
            if (!stream.write(Buffer.alloc(8_000))) return;
          }
          stream.end();
        },
      };
      stream.events = events;
      events.onDrain();
    });
    const peer = served.connect();
    peer.send(f.headers(1, POST, true));
    let answered = 0;
    peer.socket.on('data', () => {
      for (; answered < peer.frames.length; answered++) {
        const { type, payload } = peer.frames[answered]!;
        if (type !== FrameType.DATA || payload.length === 0) continue;
        peer.send(f.windowUpdate(0, payload.length), f.windowUpdate(1, payload.length));
      }
    });
    await peer.see(({ type, flags }) => type === FrameType.DATA && (flags & Flag.END_STREAM) !== 0);
    expect(served.server.counters).toMatchObject({ windowUpdateFloods: 0, pingFloods: 0, connectionErrors: 0 });
  });

  it('bodies of requests that were answered at once', async () => {
    served = await Served.start((stream) => stream.respond(401, [], true));
    const peer = served.connect();
    const count = 3_000;
    for (let at = 0; at < count; at++) {
      peer.send(f.headers(at * 2 + 1, POST), f.data(at * 2 + 1, 'a'), f.data(at * 2 + 1, 'b', true));
    }
    await peer.seeType(FrameType.HEADERS, count * 2 - 1);
    expect(served.server.counters).toMatchObject({ requests: count, connectionErrors: 0, idleFrameFloods: 0 });
  });

  it('a slow body whose handler has lifted the bound', async () => {
    served = await Served.start(
      (stream) => {
        stream.liftBodyTimeout();
        echo(stream);
      },
      { bodyTimeoutMs: 20 },
    );
    const peer = served.connect();
    peer.send(f.headers(1, POST), f.data(1, 'a'));
    await new Promise((resolve) => setTimeout(resolve, 60));
    peer.send(f.data(1, 'b', true));
    await peer.see(({ type, flags }) => type === FrameType.DATA && (flags & Flag.END_STREAM) !== 0);
    expect(served.server.counters.bodyTimeouts).toBe(0);
  });
});
