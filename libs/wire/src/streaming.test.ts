/** Our client and our server with small windows and readers that stop at random: every message arrives, once and in order. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Channel } from './client/channel.js';
import type { CallEvents, Outcome } from './client/call.js';
import { GrpcServerCall } from './server/grpc-server-call.js';
import { Served } from './testing/served.js';
import { timersSet } from './timers/wheel.js';

/** A message that can be told from every other. */
function numbered(at: number, size: number): Buffer {
  const message = Buffer.alloc(Math.max(4, size), at);
  message.writeUInt32BE(at, 0);
  return message;
}

/** Writes messages in order, waiting when told to. */
class Writer {
  private at = 0;
  constructor(
    private readonly sizes: readonly number[],
    private readonly write: (message: Buffer) => boolean,
    private readonly end: () => void,
  ) {}

  go(): void {
    while (this.at < this.sizes.length) {
      const at = this.at++;
      if (!this.write(numbered(at, this.sizes[at]!))) return;
    }
    if (this.at++ === this.sizes.length) this.end();
  }
}

/** Stops a reader after some messages, and lets it go on at once, a turn later, or after a while. */
function stopAtRandom(random: () => number, reader: { pause(): void; resume(): void }): void {
  const draw = random();
  if (draw < 0.5) return;
  reader.pause();
  if (draw < 0.6) reader.resume();
  else if (draw < 0.9) setImmediate(() => reader.resume());
  else setTimeout(() => reader.resume(), 2);
}

function randomOf(seed: number): () => number {
  let state = seed;
  return () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32;
}

it('loses nothing and stands still nowhere', { timeout: 30_000 }, async () => {
  const size = fc.oneof(fc.nat(40), fc.nat(2_000), fc.nat(60_000));
  const stream = fc.record({
    up: fc.array(size, { maxLength: 40 }),
    down: fc.array(size, { maxLength: 40 }),
    seed: fc.nat(),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(stream, { minLength: 1, maxLength: 5 }),
      fc.constantFrom(65_535, 70_000, 300_000),
      async (streams, window) => {
        const served = await Served.start(
          (request) => {
            const wanted = streams[Number(request.fields.find(([name]) => name === 'x-stream')![1])]!;
            const call = GrpcServerCall.accept(request, { maxMessageBytes: 100_000 })!;
            const random = randomOf(wanted.seed);
            let seen = 0;
            let left = 2;
            const done = (): void => void (--left === 0 && call.sendStatus(seen === wanted.up.length ? 0 : 15));
            const writer = new Writer(wanted.down, (message) => call.sendMessage(message), done);
            call.events = {
              onMessage: (message) => {
                expect(message.readUInt32BE(0)).toBe(seen++);
                stopAtRandom(random, call);
              },
              onHalfClose: done,
              onCancel: () => {},
              onDrain: () => writer.go(),
            };
            writer.go();
          },
          { streamWindowBytes: window, connectionWindowBytes: window },
        );
        const channel = new Channel(`127.0.0.1:${served.port}`, {
          streamWindowBytes: window,
          connectionsPerAddress: 1,
        });
        const method = channel.method('/a.B/C');
        await Promise.all(
          streams.map(async ({ up, down, seed }, at) => {
            const ended = Promise.withResolvers<Outcome>();
            const random = randomOf(seed + 1);
            let seen = 0;
            const events: CallEvents = {
              onHeaders: () => {},
              onMessage: (message) => {
                expect(message.readUInt32BE(0)).toBe(seen++);
                stopAtRandom(random, call);
              },
              onEnd: ended.resolve,
              onDrain: () => writer.go(),
            };
            const call = channel.start(method, [['x-stream', String(at)]], {}, events);
            const writer = new Writer(
              up,
              (message) => call.write(message),
              () => call.end(),
            );
            writer.go();
            expect(await ended.promise).toMatchObject({ code: 0 });
            expect(seen).toBe(down.length);
          }),
        );
        await channel.close(0);
        await served.close();
        expect(timersSet()).toBe(0);
      },
    ),
    { interruptAfterTimeLimit: 4_000, markInterruptAsFailure: false, numRuns: 10_000 },
  );
});
