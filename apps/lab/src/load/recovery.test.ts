import { expect, test } from 'vitest';
import { RecoveryProbe, type ProbeCall } from './recovery.js';

const running = new AbortController().signal;
const ok = (ms: number): ProbeCall => ({ status: 200, fault: undefined, ms });
const refused: ProbeCall = { status: 429, fault: undefined, ms: 1 };
const away: ProbeCall = { status: 0, fault: 'ECONNRESET', ms: 1 };

/** The calls one after the other; the last goes on for ever. */
function probe(...calls: readonly ProbeCall[]): RecoveryProbe {
  let next = 0;
  return new RecoveryProbe(async () => calls[Math.min(next++, calls.length - 1)]!, 1);
}
const calm = Array.from({ length: 5 }, () => ok(10));

test('a server that is as before has recovered with its first calls', async () => {
  const calls = probe(...calm);
  await calls.before(running);
  const recovery = await calls.after(1_000, running);
  expect(recovery).toMatchObject({ before_ms: 10, refusals: {} });
  expect(recovery.recovered_after_ms).toBeLessThanOrEqual(recovery.looked_ms);
});

test('refusals, faults and slow calls are waited out, also between good ones', async () => {
  const calls = probe(...calm, refused, ok(10), away, ok(10), ok(10), ok(500), refused, ok(29));
  await calls.before(running);
  const recovery = await calls.after(5_000, running);
  expect(recovery.refusals).toEqual({ 429: 2, ECONNRESET: 1 });
  expect(recovery.recovered_after_ms).toBeGreaterThan(0);
});

test('what does not recover is given up, and said', async () => {
  const calls = probe(...calm, ok(31));
  await calls.before(running);
  expect(await calls.after(30, running)).toMatchObject({ recovered_after_ms: undefined, refusals: {} });
});

test('a server that does not answer before the load gives nothing to compare with', async () => {
  await expect(probe(refused).before(running)).rejects.toThrow('before the load ended with 429');
});
