import { expect, it } from 'vitest';
import { Recorder } from './recorder.js';

const ok = { kind: 'ok' } as const;

it('corrected latency counts from the planned moment, uncorrected from the sent one', () => {
  const recorder = new Recorder();
  // A generator that stood still for 2 s sends 200 calls late; each is answered in 1 ms.
  for (let call = 0; call < 200; call++) {
    const plannedMs = call * 10;
    const sentMs = 2000;
    recorder.planned('message');
    recorder.sent('message', plannedMs, sentMs);
    recorder.ended({ kind: 'message', plannedMs, sentMs, firstByteMs: 2001, endedMs: 2001, outcome: ok });
  }
  const { corrected, uncorrected } = recorder.latency();
  expect(corrected.p99).toBeGreaterThan(1900);
  expect(corrected.p50).toBeGreaterThan(900);
  expect(uncorrected.p99).toBeLessThan(1.1);
  expect(recorder.late).toBe(195);
  expect(recorder.lateMostMs).toBe(2000);
});

it('is bounded: a million calls and as many names of causes take no more memory than a thousand', () => {
  const recorder = new Recorder();
  const record = (calls: number, offset: number) => {
    for (let call = 0; call < calls; call++) {
      const outcome = call % 2 === 0 ? ok : ({ kind: 'failed', cause: `cause ${call + offset}` } as const);
      recorder.ended({ kind: 'message', plannedMs: 0, sentMs: 0, firstByteMs: 1, endedMs: call % 5000, outcome });
    }
  };
  record(1000, 0);
  const names = Object.keys(recorder.failures).length;
  record(1_000_000, 1000);
  expect(Object.keys(recorder.failures)).toHaveLength(names);
  expect(names).toBe(51);
  expect(recorder.latency().corrected.count).toBe(1_001_000);
});

it('keeps what the server said when a cause was met first', () => {
  const recorder = new Recorder();
  const failed = (detail?: string) => {
    const outcome = { kind: 'failed', cause: '400 INVALID_ARGUMENT', ...(detail !== undefined && { detail }) } as const;
    recorder.ended({ kind: 'guest', plannedMs: 0, sentMs: 0, firstByteMs: 1, endedMs: 1, outcome });
  };
  failed();
  failed('tenant: unknown');
  failed('x'.repeat(1_000));
  expect(recorder.failures).toEqual({ 'guest: 400 INVALID_ARGUMENT': 3 });
  expect(recorder.failureDetails).toEqual({ 'guest: 400 INVALID_ARGUMENT': 'tenant: unknown' });
});

it('does not count refused calls into latency, and counts them by dimension per slice', () => {
  const recorder = new Recorder();
  const refused = { kind: 'refused', blockedBy: 'ip', retryAfterMs: 0 } as const;
  recorder.ended({ kind: 'message', plannedMs: 0, sentMs: 0, firstByteMs: 1, endedMs: 1, outcome: refused });
  expect(recorder.latency().corrected.count).toBe(0);
  expect(recorder.cut(1000)).toMatchObject({ refused: 1, refusedBy: { ip: 1 }, p99: 0 });
  expect(recorder.cut(2000)).toMatchObject({ atMs: 1000, refused: 0, refusedBy: {} });
});
