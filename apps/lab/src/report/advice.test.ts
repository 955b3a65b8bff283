import { describe, expect, it } from 'vitest';
import { type AddressMode, planOf } from '../load/plan.js';
import { Recorder } from '../load/recorder.js';
import type { RunResult } from '../load/run.js';
import { readScenario } from '../load/scenario.js';
import { type Report, reportOf } from './report.js';

/** The report of `calls` that all ended in a millisecond, but for as many as were refused by a dimension. */
function reportWith(
  calls: number,
  refusedBy: Record<string, number>,
  options: { timeScale: number; scaled?: boolean; lateSlices?: number; addressMode?: AddressMode },
): Report {
  const plan = planOf(readScenario('heavy_load'), {
    baseUrl: 'http://127.0.0.1:1',
    timeScale: options.timeScale,
    scaleAddresses: options.scaled ?? false,
    addressMode: options.addressMode ?? 'source',
    seed: 1,
    callTimeoutMs: 1_000,
  });
  const recorder = new Recorder();
  const record = (outcome: Parameters<Recorder['ended']>[0]['outcome']) => {
    recorder.planned('message');
    recorder.sent('message', 0, 0);
    recorder.ended({ kind: 'message', plannedMs: 0, sentMs: 0, firstByteMs: 1, endedMs: 1, outcome });
  };
  for (let call = 0; call < calls; call++) record({ kind: 'ok' });
  for (const [blockedBy, count] of Object.entries(refusedBy)) {
    for (let call = 0; call < count; call++) record({ kind: 'refused', blockedBy, retryAfterMs: 0 });
  }
  const moment = {
    phase: 'hold',
    sessions: 1,
    sessionsMost: 1,
    multiplier: 1,
    inFlight: 0,
    addressesResting: 0,
  } as const;
  const moments = Array.from({ length: 100 }, (_, index) => ({
    ...recorder.cut(index),
    ...moment,
    generator: { cpu: 0.1, lagP99Ms: index < (options.lateSlices ?? 0) ? 60 : 1, rssBytes: 1 },
  }));
  const result: RunResult = {
    plan,
    startedAt: '',
    endedAt: '',
    elapsedMs: plan.phases.endMs,
    interrupted: false,
    recorder,
    moments,
    sessions: { created: 1000, wanted: 1000, most: 1000, expired: 0, lost: 0, deleted: 1000 },
    createPerSecond: 0.6 * options.timeScale,
    recovery: undefined,
    generator: { cpuSeconds: 1, cpuMost: 0.1, lagP99MostMs: 60, rssMostBytes: 1, connections: 1 },
    memory: [],
  };
  return reportOf(result, {});
}

const advice = (...args: Parameters<typeof reportWith>) =>
  reportWith(...args)
    .advice.map(({ text }) => text)
    .join('\n');

describe('advice', () => {
  it('is not given for a run that met everything', () => {
    expect(reportWith(1000, {}, { timeScale: 1 })).toMatchObject({ passed: true, advice: [] });
  });

  it('begins with the generator when that was busy itself, for more than a moment', () => {
    expect(reportWith(1000, {}, { timeScale: 1, lateSlices: 5 }).advice).toEqual([]);
    const { advice } = reportWith(1000, {}, { timeScale: 1, lateSlices: 6 });
    expect(advice[0]?.text).toContain('The generator was busy itself');
    expect(advice[0]?.figures).toBe('in 6 of 100 slices its event loop was up to 60 ms late (99th percentile)');
  });

  it('names the setting and the command when the budget has run out, and no limits per minute', () => {
    const given = advice(800, { budget: 200 }, { timeScale: 60, scaled: true });
    expect(given).toContain('NODE_BUDGET=10000000 npm start');
    expect(given).toContain('PATCH /api/v1/nodes/NODE');
    expect(given).not.toContain('per real minute');
  });

  it('names --scale-addresses when a scaled run was refused for its addresses', () => {
    const given = advice(800, { ip: 200 }, { timeScale: 60 });
    expect(given).toContain('The limit per address refuses most');
    expect(given).toContain('use --scale-addresses');
    expect(advice(800, { ip: 200 }, { timeScale: 1 })).not.toContain('--scale-addresses');
  });

  it('speaks of the other limits when the addresses were scaled', () => {
    const given = advice(800, { tenant: 200 }, { timeScale: 60, scaled: true });
    expect(given).toContain('Divide the users over more tenants');
    expect(given).toContain('those per user, tenant or for all');
  });

  it('does not blame the scale when addresses were refused that asked no more than unscaled', () => {
    const given = advice(800, { ip: 200 }, { timeScale: 60, scaled: true });
    expect(given).toContain('An earlier run from the same addresses counts as well');
    expect(given).not.toContain('The run was scaled');
  });

  it('says who must trust the lab when addresses that were only said are refused', () => {
    const forwarded = { timeScale: 1, addressMode: 'forwarded' } as const;
    expect(advice(800, { ip: 200 }, forwarded)).toContain('trusted_proxies');
    expect(advice(800, { user: 200 }, forwarded)).not.toContain('trusted_proxies');
  });
});
