import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { messageShare, phaseAt, phasesOf } from './phases.js';
import { Agenda, EvenPlan, RatePlanner } from './planner.js';

describe('RatePlanner', () => {
  it('plans evenly, and gives every moment once however seldom it is asked', () => {
    const often = new RatePlanner(() => 10, 0);
    const seldom = new RatePlanner(() => 10, 0);
    const a: number[] = [];
    for (let now = 0; now <= 10_000; now += 7) a.push(...often.due(now));
    a.push(...often.due(10_000));
    const b = [...seldom.due(10_000)];
    expect(a).toEqual(b);
    expect(b).toHaveLength(101);
    expect(b.slice(0, 3)).toEqual([0, 100, 200]);
  });

  it('keeps the planned moments of what a stall delayed', () => {
    const planner = new RatePlanner(() => 100, 0);
    expect([...planner.due(0)]).toEqual([0]);
    const late = [...planner.due(2000)];
    expect(late).toHaveLength(200);
    expect(late[0]).toBe(10);
  });

  it('waits while the rate is 0 and goes on when it rises', () => {
    const planner = new RatePlanner((now) => (now < 1000 ? 0 : 1000), 0);
    expect([...planner.due(999)]).toEqual([]);
    expect([...planner.due(1100)].length).toBeGreaterThanOrEqual(95);
  });

  it('plans as many calls as the rate integrates to', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2000 }), fc.integer({ min: 1, max: 5000 }), (rate, durationMs) => {
        const planned = [...new RatePlanner(() => rate, 0).due(durationMs)].length;
        return Math.abs(planned - (rate * durationMs) / 1000) <= 1.001;
      }),
    );
  });
});

it('every plan tells when to ask again, so that nobody has to look all the time', () => {
  const rate = new RatePlanner(() => 2, 100);
  const even = new EvenPlan(2, 100, 2);
  const agenda = new Agenda<string>();
  expect([rate.next, even.next, agenda.next]).toEqual([100, 100, Number.POSITIVE_INFINITY]);
  agenda.add(900, 'late');
  agenda.add(600, 'soon');
  for (const plan of [rate, even]) expect([...plan.due(100)]).toEqual([100]);
  expect([rate.next, even.next, agenda.next]).toEqual([600, 600, 600]);
  for (const plan of [rate, even, agenda]) expect([...plan.due(600)]).toHaveLength(1);
  expect([rate.next, even.next, agenda.next]).toEqual([1100, Number.POSITIVE_INFINITY, 900]);
});

describe('EvenPlan', () => {
  it('spreads a number of moments and then is empty', () => {
    const plan = new EvenPlan(3, 100, 2);
    expect([...plan.due(99)]).toEqual([]);
    expect([...plan.due(700)]).toEqual([100, 600]);
    expect([...plan.due(9999)]).toEqual([1100]);
    expect(plan.left).toBe(0);
  });
});

describe('Agenda', () => {
  it('gives what is due, earliest first', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(1000)), fc.nat(1000), (times, now) => {
        const agenda = new Agenda<number>();
        for (const time of times) agenda.add(time, time);
        const due = [...agenda.due(now)].map(({ what }) => what);
        expect(due).toEqual(times.filter((time) => time <= now).sort((a, b) => a - b));
        expect([...agenda.due(Number.POSITIVE_INFINITY)]).toHaveLength(times.length - due.length);
      }),
    );
  });
});

describe('phases', () => {
  const phases = phasesOf(60 * 60_000);

  it('takes 5, 25, 25 and 5 of 60 minutes, in proportion', () => {
    expect(phases).toEqual({ growMs: 300_000, holdMs: 1_800_000, cleanUpMs: 3_300_000, endMs: 3_600_000 });
    expect(phasesOf(60_000)).toEqual({ growMs: 5_000, holdMs: 30_000, cleanUpMs: 55_000, endMs: 60_000 });
  });

  it('names the phase of each moment', () => {
    const at = [0, 299_999, 300_000, 1_799_999, 1_800_000, 3_300_000, 9e9].map((ms) => phaseAt(phases, ms));
    expect(at).toEqual(['start', 'start', 'grow', 'grow', 'hold', 'clean up', 'clean up']);
  });

  it('raises the rate through the growth', () => {
    const shares = [0, 300_000, 1_050_000, 1_800_000, 3_300_000].map((ms) => messageShare(phases, ms));
    expect(shares).toEqual([0, 0.1, 0.55, 1, 0]);
  });
});
