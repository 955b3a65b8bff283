/** Whatever a client sends: no throw, no hang, bounded memory, and every request ends at most once. `FUZZ_MS` makes it longer. */
import { once } from 'node:events';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Fields } from '../fields.js';
import { PREFACE } from '../http2/frames.js';
import * as f from '../testing/frames.js';
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
/** Frames in any order, or a recorded conversation with octets changed, in pieces of any size. */
const conversation = fc
  .tuple(
    fc.array(anyFrame, { maxLength: 40 }),
    fc.array(fc.tuple(fc.nat(3_000), fc.nat(255)), { maxLength: 4 }),
    fc.integer({ min: 1, max: 500 }),
  )
  .map(([frames, flips, piece]) => {
    const bytes = Buffer.concat([PREFACE, f.settings(), ...frames]);
    for (const [at, value] of flips) if (at >= PREFACE.length && at < bytes.length) bytes[at] = value;
    return { bytes, piece };
  });

it('survives any client', { timeout: FUZZ_MS + 30_000 }, async () => {
  const ends = new Map<ServerStream, number>();
  const count = (stream: ServerStream): void => void ends.set(stream, (ends.get(stream) ?? 0) + 1);
  const served = await Served.start((stream) => {
    ends.set(stream, 0);
    stream.events = {
      onData: (chunk) => {
        if (!stream.responded) stream.respond(200, [['x', 'y']]);
        stream.write(chunk);
        if (chunk.length % 5 === 0) stream.pause();
        if (chunk.length % 7 === 0) setImmediate(() => stream.resume());
        if (chunk.length === 13) stream.reset();
      },
      onEnd: () => {
        count(stream);
        if (!stream.responded) stream.respond(200, []);
        if (!stream.finished) stream.trailers([['a', 'b']]);
      },
      onReset: () => count(stream),
    };
  });
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
      expect(served.server.counters.streams).toBe(0);
      ends.clear();
    }),
    { interruptAfterTimeLimit: FUZZ_MS, numRuns: 1_000_000, markInterruptAsFailure: false },
  );
  await served.close();
  expect(timersSet()).toBe(0);
});
