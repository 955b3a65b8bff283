import { describe, expect, it } from 'vitest';
import { planOf } from './plan.js';
import { expectedTokens, type Machine, requirementsOf, requirementsText } from './requirements.js';
import { readScenario } from './scenario.js';

const GIB = 2 ** 30;
const brief: Machine = {
  cores: 4,
  memoryBytes: 8 * GIB,
  availableBytes: 6 * GIB,
  openFiles: 20_000,
  tokensLeft: 3_000_000,
};
const plan = (name: string) =>
  planOf(readScenario(name), {
    baseUrl: 'http://127.0.0.1:8083',
    timeScale: 1,
    scaleAddresses: false,
    addressMode: 'source',
    seed: 1,
    callTimeoutMs: 30_000,
  });
const short = (name: string, machine: Partial<Machine>, here = true) =>
  requirementsOf(plan(name), { ...brief, ...machine }, here)
    .filter(({ met }) => !met)
    .map((requirement) => `${requirement.name}${requirement.stops ? ', stops' : ''}`);

describe('the requirements of a run', () => {
  it.each<[string, string, Partial<Machine>, string[]]>([
    ['are met by 4 cores and 8 GB', 'heavy_load', {}, []],
    ['say that a machine that calls itself 8 GB and has 7.7 is one', 'heavy_load', { memoryBytes: 7.7 * GIB }, []],
    ['name what a thousand sessions lack', 'heavy_load', { cores: 2, memoryBytes: 4 * GIB }, ['cores', 'memory']],
    ['ask half of it for a hundred', 'light_load', { cores: 2, memoryBytes: 4 * GIB }, []],
    ['stop a run whose generator has no memory', 'light_load', { availableBytes: GIB / 8 }, ['free memory, stops']],
    ['stop a run whose addresses get no connection', 'burst_test', { openFiles: 128 }, ['open files, stops']],
    ['tell tokens that will not do', 'heavy_load', { tokensLeft: 1_000_000 }, ['tokens']],
    ['do without what cannot be known', 'heavy_load', { tokensLeft: undefined, openFiles: undefined }, []],
  ])('%s', (_, name, machine, missing) => {
    expect(short(name, machine)).toEqual(missing);
  });

  it('are those of the generator alone where the services are elsewhere', () => {
    expect(short('heavy_load', { cores: 1, memoryBytes: GIB }, false)).toEqual([]);
  });

  it('know what the messages of a scenario cost, within a tenth of what heavy_load was measured to', () => {
    // 2.4 million with the multiplier at its upper bound, 1.5, most of the time.
    expect(expectedTokens(plan('heavy_load'))).toBeGreaterThan(2_400_000 / 1.5 / 1.3);
    expect(expectedTokens(plan('heavy_load'))).toBeLessThan(2_400_000);
  });

  it('say what there is, and what to do about the rest', () => {
    const text = requirementsText(requirementsOf(plan('burst_test'), { ...brief, openFiles: 128 }, true));
    expect(text).toContain('ok     cores        4 (needed: 4)');
    expect(text).toContain('SHORT  open files   128 (needed: 200)');
    expect(text).toContain('ulimit -n 4096');
  });
});
