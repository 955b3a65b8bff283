/** Whatever a peer sends, every call ends once, nothing throws, and nothing stays behind. `FUZZ_MS` makes it longer. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { FrameType } from '../http2/frames.js';
import * as f from '../testing/frames.js';
import { Recorder } from '../testing/recorder.js';
import { ScriptedServer } from '../testing/scripted-peer.js';
import { timersSet } from '../timers/wheel.js';
import { Channel } from './channel.js';

const FUZZ_MS = Number(process.env['FUZZ_MS'] ?? 2_000);

const streamId = fc.constantFrom(0, 1, 2, 3, 5, 2 ** 31 - 1);
const payload = fc.uint8Array({ maxLength: 60 });
const anyFrame = fc.oneof(
  fc
    .tuple(fc.nat(11), fc.nat(255), streamId, payload)
    .map(([type, flags, id, bytes]) => f.frame(type, flags, id, bytes)),
  streamId.map((id) => f.headers(id, f.RESPONSE)),
  streamId.map((id) => f.headers(id, f.OK, true)),
  fc.tuple(streamId, payload, fc.boolean()).map(([id, bytes, end]) => f.data(id, f.message(bytes), end)),
  fc.tuple(fc.nat(7), fc.nat(70_000)).map(([id, value]) => f.settings([id, value])),
  fc.tuple(streamId, fc.nat(100_000)).map(([id, value]) => f.windowUpdate(id, value)),
  fc.tuple(streamId, fc.nat(20)).map(([id, code]) => f.reset(id, code)),
  fc.tuple(streamId, fc.nat(20)).map(([id, code]) => f.goaway(id, code)),
);
const conversation = fc
  .tuple(
    fc.boolean(),
    fc.array(anyFrame, { maxLength: 30 }),
    fc.array(fc.tuple(fc.nat(2_000), fc.nat(255)), { maxLength: 3 }),
  )
  .map(([preface, frames, flips]) => {
    const bytes = Buffer.concat(frames);
    for (const [at, value] of flips) if (at < bytes.length) bytes[at] = value;
    return { preface, bytes };
  });

it('survives any conversation', { timeout: FUZZ_MS + 30_000 }, async () => {
  const server = await ScriptedServer.listen();
  const serve = (preface: boolean, bytes: Buffer): void => {
    void server.next().then(async (peer) => {
      if (preface) {
        peer.send(f.settings());
        await Promise.race([peer.seeType(FrameType.DATA), peer.closed]);
      }
      peer.send(bytes);
      peer.socket.end();
    });
  };
  await fc.assert(
    fc.asyncProperty(conversation, async ({ preface, bytes }) => {
      const channel = new Channel(`127.0.0.1:${server.port}`, { maxAttempts: 1 });
      const method = channel.method('/a.B/C');
      const events = [new Recorder(), new Recorder()];
      serve(preface, bytes);
      for (const one of events) channel.unary(method, [], Buffer.from('hello'), {}, one);
      for (const one of events) await one.outcome;
      await channel.close(0);
      for (const one of events) expect(one.ends).toBe(1);
      expect(channel.stats).toMatchObject({ streams: 0, queued: 0, connections: 0 });
      expect(timersSet()).toBe(0);
    }),
    { interruptAfterTimeLimit: FUZZ_MS, numRuns: 1_000_000, markInterruptAsFailure: false },
  );
  await server.close();
});
