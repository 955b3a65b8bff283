/** Whatever a client sends: no throw, no hang, bounded memory, and every request ends at most once. `FUZZ_MS` makes it longer. */
import { once } from 'node:events';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Fields } from '../fields.js';
import { Flag, FrameType, PREFACE } from '../http2/frames.js';
import * as f from '../testing/frames.js';
import type { PeerConnection } from '../testing/scripted-peer.js';
import { Served } from '../testing/served.js';
import { timersSet } from '../timers/wheel.js';
import type { ServerStream } from './server-stream.js';

const FUZZ_MS = Number(process.env['FUZZ_MS'] ?? 2_000);

const GET: Fields = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', '/'],
  [':authority', 'a'],
];
const streamId = fc.constantFrom(0, 1, 1, 3, 3, 5, 7, 2, 2 ** 31 - 1);
const payload = fc.uint8Array({ maxLength: 60 });
const anyFrame = fc.oneof(
  fc
    .tuple(fc.nat(11), fc.nat(255), streamId, payload)
    .map(([type, flags, id, bytes]) => f.frame(type, flags, id, bytes)),
  fc.tuple(streamId, fc.boolean()).map(([id, end]) => f.headers(id, GET, end)),
  fc.tuple(streamId, payload).map(([id, bytes]) => f.frame(1, 5, id, bytes)),
  fc.tuple(streamId, payload, fc.boolean()).map(([id, bytes, end]) => f.data(id, bytes, end)),
  fc.tuple(fc.nat(7), fc.nat(70_000)).map(([id, value]) => f.settings([id, value])),
  fc.tuple(streamId, fc.nat(100_000)).map(([id, value]) => f.windowUpdate(id, value)),
  fc.tuple(streamId, fc.nat(20)).map(([id, code]) => f.reset(id, code)),
  fc.constant(f.settingsAck),
);
/** A step of a client that keeps to the rules; `at` chooses among what it can do. */
interface Step {
  readonly kind: string;
  readonly at: number;
  readonly size: number;
}
const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom('open', 'open', 'data', 'data', 'end', 'trailers', 'reset', 'window', 'ping', 'split'),
  at: fc.nat(1_000),
  size: fc.oneof(fc.nat(60), fc.nat(16_384)),
});
/** A literal that is indexed, and references to it and to the one before: blocks that depend on those before. */
const INDEXED = Buffer.from('4001610162', 'hex');
const REFERENCES = ['be', 'bebf', '0f2f0161', '7e0163'].map((hex) => Buffer.from(hex, 'hex'));

/** What a client sends that keeps to the rules, and what of it makes a stream. */
class Conversation {
  readonly frames: Buffer[] = [];
  /** Octets of body by stream, as far as the stream was not reset. */
  readonly bodies = new Map<number, number>();
  private readonly open: number[] = [];
  private next = 1;

  constructor(steps: readonly Step[]) {
    for (const one of steps) this.take(one);
  }

  /** Ends all that is open. */
  end(): void {
    for (const id of this.open.splice(0)) this.frames.push(f.data(id, '', true));
  }

  private take({ kind, at, size }: Step): void {
    const id = this.open[at % Math.max(1, this.open.length)];
    if (kind === 'split' || kind === 'open' || id === undefined) return this.begin(kind === 'split', at, size);
    if (kind === 'end' || kind === 'trailers' || kind === 'reset') this.open.splice(this.open.indexOf(id), 1);
    switch (kind) {
      case 'data':
      case 'end': {
        // Within the window of the stream.
        const octets = Math.min(kind === 'end' ? size % 50 : size, 65_000 - this.bodies.get(id)!);
        this.bodies.set(id, this.bodies.get(id)! + octets);
        return void this.frames.push(f.data(id, Buffer.alloc(octets), kind === 'end'));
      }
      case 'trailers':
        return void this.frames.push(f.headers(id, [['x', 'y']], true));
      case 'reset':
        this.bodies.delete(id);
        return void this.frames.push(f.reset(id, size % 14));
      case 'window':
        return void this.frames.push(f.windowUpdate(at % 2 === 0 ? 0 : id, size + 1));
      default:
        return void this.frames.push(f.ping());
    }
  }

  private begin(split: boolean, at: number, size: number): void {
    const id = this.next;
    this.next += 2;
    const block = Buffer.concat([f.block(GET), id <= 3 ? INDEXED : REFERENCES[at % REFERENCES.length]!]);
    this.open.push(id);
    this.bodies.set(id, 0);
    if (!split) return void this.frames.push(f.frame(FrameType.HEADERS, Flag.END_HEADERS, id, block));
    const cut = size % block.length;
    this.frames.push(
      f.frame(FrameType.HEADERS, 0, id, block.subarray(0, cut)),
      f.frame(FrameType.CONTINUATION, Flag.END_HEADERS, id, block.subarray(cut)),
    );
  }
}

/** What the client lets a stream send at first; the rest when it has sent everything itself. */
const window = fc.constantFrom(0, 1, 1_000, 2 ** 30);
const legal = fc.array(step, { maxLength: 60 });

/** Frames in any order, or a conversation by the rules; some octets changed, in pieces of any size. */
const conversation = fc
  .tuple(
    fc.oneof(
      fc.array(anyFrame, { maxLength: 40 }),
      legal.map((steps) => new Conversation(steps).frames),
      fc
        .tuple(legal, fc.array(anyFrame, { maxLength: 2 }), legal)
        .map(([before, any, after]) => [
          ...new Conversation(before).frames,
          ...any,
          ...new Conversation([...before, ...after]).frames,
        ]),
    ),
    fc.array(fc.tuple(fc.nat(3_000), fc.nat(255)), { maxLength: 4 }),
    fc.integer({ min: 1, max: 500 }),
  )
  .map(([frames, flips, piece]) => {
    const bytes = Buffer.concat([PREFACE, f.settings(), ...frames]);
    for (const [at, value] of flips) if (at >= PREFACE.length && at < bytes.length) bytes[at] = value;
    return { bytes, piece };
  });

/** Echoes, with pauses; some requests are answered early. Notes how often each request ended, and events after an end. */
class Watched {
  readonly ends = new Map<ServerStream, number>();
  readonly faults: string[] = [];

  readonly serve = (stream: ServerStream): void => {
    this.ends.set(stream, 0);
    if (isEarly(stream.id)) {
      stream.events = {
        onData: () => void this.faults.push('data after the answer'),
        onEnd: () => void this.faults.push('the end after the answer'),
        onReset: () => void this.faults.push('a reset after the answer'),
      };
      return stream.respond(404, [], true);
    }
    let paused = false;
    const pause = (): void => {
      paused = true;
      stream.pause();
    };
    const resume = (): void => {
      paused = false;
      stream.resume();
    };
    stream.events = {
      onData: (chunk) => {
        if (paused) this.faults.push('data while paused');
        if (!stream.responded) stream.respond(200, [['x', 'y']]);
        if (!stream.write(Buffer.from(chunk))) return pause();
        if (chunk.length % 5 !== 0) return undefined;
        pause();
        setImmediate(resume);
        return undefined;
      },
      onEnd: () => {
        if (paused) this.faults.push('the end while paused');
        this.count(stream);
        if (!stream.responded) stream.respond(200, []);
        if (!stream.finished) stream.trailers([['a', 'b']]);
      },
      onReset: () => this.count(stream),
      onDrain: resume,
    };
    return undefined;
  };

  private count(stream: ServerStream): void {
    this.ends.set(stream, this.ends.get(stream)! + 1);
  }
}

const isEarly = (id: number): boolean => id % 10 === 7;

it('survives any client', { timeout: FUZZ_MS + 30_000 }, async () => {
  const { serve, ends, faults } = new Watched();
  const served = await Served.start(serve);
  await fc.assert(
    fc.asyncProperty(conversation, async ({ bytes, piece }) => {
      const peer = served.connect(Buffer.alloc(0));
      await once(peer.socket, 'connect');
      for (let at = 0; at < bytes.length; at += piece) peer.send(bytes.subarray(at, at + piece));
      peer.socket.end();
      await peer.closed;
      await expect.poll(() => served.server.counters.open, { interval: 1 }).toBe(0);
      // Ended once, or ended and then reset while the answer was still being sent.
      for (const [stream, times] of ends) expect(times, stream.path).toBeLessThanOrEqual(2);
      expect(faults).toEqual([]);
      expect(served.server.counters.streams).toBe(0);
      ends.clear();
    }),
    { interruptAfterTimeLimit: FUZZ_MS, numRuns: 1_000_000, markInterruptAsFailure: false },
  );
  await served.close();
  // Of use only when conversations get somewhere.
  expect(served.server.counters.requests).toBeGreaterThan(served.server.counters.connections);
  expect(timersSet()).toBe(0);
});

it('serves any client that keeps to the rules', { timeout: FUZZ_MS + 30_000 }, async () => {
  const { serve, ends, faults } = new Watched();
  const served = await Served.start(serve);
  await fc.assert(
    fc.asyncProperty(legal, fc.integer({ min: 1, max: 40_000 }), window, async (steps, piece, windowSize) => {
      const peer = served.connect(
        Buffer.concat([PREFACE, f.settings([4, windowSize]), f.windowUpdate(0, 2 ** 30), f.settingsAck]),
      );
      const conversation = new Conversation(steps);
      conversation.end();
      const bytes = Buffer.concat(conversation.frames);
      for (let at = 0; at < bytes.length; at += piece) peer.send(bytes.subarray(at, at + piece));
      for (const id of conversation.bodies.keys()) peer.send(f.windowUpdate(id, 2 ** 20));
      peer.send(f.frame(FrameType.PING, 0, 0, Buffer.from('finished')));
      await peer.see(({ type, payload }) => type === FrameType.PING && payload.toString() === 'finished');
      // Every stream ends while the connection stands, and every body has come back whole.
      await expect.poll(() => served.server.counters.streams, { interval: 1 }).toBe(0);
      for (const [id, octets] of conversation.bodies) {
        await peer.see(({ streamId, flags, type }) => streamId === id && type <= 1 && (flags & Flag.END_STREAM) !== 0);
        expect(bodyOf(peer, id)).toBe(isEarly(id) ? 0 : octets);
      }
      expect(peer.frames.filter(({ type }) => type === FrameType.GOAWAY)).toEqual([]);
      for (const [stream, times] of ends) expect(times, String(stream.id)).toBe(isEarly(stream.id) ? 0 : 1);
      expect(faults).toEqual([]);
      ends.clear();
      peer.socket.destroy();
    }),
    { interruptAfterTimeLimit: FUZZ_MS, numRuns: 1_000_000, markInterruptAsFailure: false },
  );
  await served.close();
  expect(served.server.counters).toMatchObject({ open: 0, connectionErrors: 0, malformed: 0, refusedStreams: 0 });
  expect(timersSet()).toBe(0);
});

function bodyOf(peer: PeerConnection, id: number): number {
  const data = peer.frames.filter(({ streamId, type }) => streamId === id && type === FrameType.DATA);
  return data.reduce((octets, { payload: bytes }) => octets + bytes.length, 0);
}
