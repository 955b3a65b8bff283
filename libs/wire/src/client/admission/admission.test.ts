import { describe, expect, it } from 'vitest';
import { Admission, type Refusal } from './admission.js';
import type { AdmittedCall, Limiter } from './limiter.js';
import type { WaitingCall } from './waiting-calls.js';

interface NamedCall extends AdmittedCall {
  readonly name: string;
}
const call = (name: string, deadline?: number, share = ''): NamedCall => ({
  name,
  deadline,
  sentAt: 0,
  cohort: 0,
  arrivedAt: 0,
  waitMs: 0,
  share,
  beside: undefined,
});

function admission(over: Partial<Limiter> = {}, maxQueued = 100) {
  const limiter: Limiter = {
    limit: 1,
    latency: 100,
    unloaded: 40,
    slack: 0,
    patience: 0,
    unknown: false,
    blocked: () => undefined,
    tick: () => undefined,
    sent: () => undefined,
    ended: () => undefined,
    ...over,
  };
  const refused: [string, Refusal][] = [];
  const made = new Admission<NamedCall>(limiter, { maxQueued, maxWaitMs: 400 }, ({ name }, why) =>
    refused.push([name, why]),
  );
  return { made, refused };
}

/** One call is in flight, and so many wait. */
function full(count: number, over?: Partial<Limiter>, maxQueued?: number) {
  const { made, refused } = admission(over, maxQueued);
  const first = call('first');
  made.sent(first, 1000);
  const waiting = Array.from({ length: count }, (_, index) => call(`${index}`));
  for (const each of waiting) expect(made.wait(each, 1000)).toBeUndefined();
  return { made, refused, first };
}

describe('a queue', () => {
  it('that is young is served in order', () => {
    const { made, first } = full(2);
    made.gaveBack(first, 1100, 'answered');
    expect(made.next(1100)?.name).toBe('0');
  });

  it('that has stood longer than a burst lasts is served from its newest, and nobody waits long', () => {
    const { made, refused, first } = full(2);
    made.expire(1401);
    expect(refused).toEqual([
      ['0', 'queue_wait'],
      ['1', 'queue_wait'],
    ]);
    made.wait(call('2'), 1402);
    made.wait(call('3'), 1403);
    made.gaveBack(first, 1404, 'answered');
    expect(made.next(1404)?.name).toBe('3');
    // A quarter of 40 ms would be too short for timers: 20.
    made.expire(1423);
    expect(refused.at(-1)).toEqual(['2', 'queue_wait']);
    // Empty for as long as a burst lasts: young again.
    made.sent(call('4'), 1830);
    made.wait(call('5'), 1830);
    made.wait(call('6'), 1831);
    made.expire(2200);
    expect(refused.at(-1)).toEqual(['2', 'queue_wait']);
  });

  it('that stands gives each fourth place to the oldest, whom newcomers would keep waiting until they may no longer', () => {
    const { made, first } = full(1);
    made.expire(1401);
    for (const name of ['patient', 'b', 'c', 'd', 'e', 'f']) {
      made.wait({ ...call(name), waitMs: name === 'patient' ? 5000 : 0 }, 1402);
    }
    made.gaveBack(first, 1403, 'answered');
    const served: (string | undefined)[] = [];
    for (let place = 0; place < 5; place++) served.push(made.next(1403)?.name);
    expect(served).toEqual(['f', 'e', 'd', 'patient', 'c']);
  });

  it('takes nobody whose time is less than calls lately took, and keeps nobody whose time becomes so', () => {
    const { made, refused } = admission({ limit: 2 });
    const [first, second] = [call('first'), call('second')];
    made.sent(first, 1000);
    made.sent(second, 1000);
    expect(made.wait(call('late', 1099), 1000)).toBe('deadline');
    expect(made.wait(call('soon late', 1150), 1000)).toBeUndefined();
    expect(made.wait(call('in time', 1200), 1000)).toBeUndefined();
    made.gaveBack(first, 1060, 'answered');
    expect(made.next(1060)?.name).toBe('in time');
    expect(refused).toEqual([['soon late', 'deadline']]);
    expect(made.refused).toEqual({ deadline: 2, queue_full: 0, queue_wait: 0 });
  });

  it('is bounded', () => {
    const { made } = full(2, {}, 2);
    expect(made.wait(call('2'), 1000)).toBe('queue_full');
  });

  it('does not run while nobody can be reached', () => {
    const { made, refused } = full(1, { limit: 5 });
    made.reachable(3000);
    made.expire(3399);
    expect(refused).toEqual([]);
    expect(made.next(3399)?.name).toBe('0');
  });

  it('waits without end while nothing is known of the service', () => {
    const { made, refused } = full(1, { unknown: true, latency: 0, unloaded: 0 });
    made.expire(20_000);
    expect(refused).toEqual([]);
  });

  it('forgets a call that has ended', () => {
    const { made, first } = full(3);
    const [{ oldest }] = made.waiting.busy as unknown as [{ oldest: WaitingCall<NamedCall> }];
    made.left(oldest!.newer!.call, 1000);
    made.gaveBack(first, 1010, 'answered');
    expect([made.next(1010)?.name, made.next(1010)?.name, made.next(1010)]).toEqual(['0', '2', undefined]);
  });
});

describe('an answer', () => {
  it('is missed from the first call on that got none, although those who made the calls have left', () => {
    const { made } = admission({ limit: 5 });
    const [first, second, third] = [call('first'), call('second'), call('third')];
    expect(made.unansweredMs(900)).toBe(0);
    made.sent(first, 1000);
    made.gaveBack(first, 1200, 'lost');
    made.sent(second, 3000);
    expect(made.unansweredMs(3500)).toBe(2500);
    made.sent(third, 3500);
    made.gaveBack(second, 3600, 'answered');
    made.heard(3600);
    expect(made.unansweredMs(4000)).toBe(400);
    made.gaveBack(third, 4000, 'answered');
    made.heard(4000);
    expect([made.unansweredMs(9000), made.heardAt]).toEqual([0, 4000]);
  });
});

describe('calls of several shares', () => {
  const served = (made: Admission<NamedCall>, count: number, now: number) =>
    Array.from({ length: count }, () => made.next(now)?.name);

  /** One in flight, and a flood of `many` calls of one share that wait, of which nobody has waited for long. */
  function flooded(many: number, over: Partial<Limiter> = {}, maxQueued = 1000) {
    const { made, refused } = admission(over, maxQueued);
    const first = call('first', undefined, 'flood');
    made.sent(first, 1000);
    for (let index = 0; index < many; index++) made.wait(call(`f${index}`, undefined, 'flood'), 1000);
    return { made, refused, first };
  }

  it('take turns, however many one of them has', () => {
    const { made, first } = flooded(600);
    for (const name of ['b0', 'b1']) made.wait(call(name, undefined, 'b'), 1001);
    made.wait(call('c0', undefined, 'c'), 1001);
    made.gaveBack(first, 1002, 'answered');
    expect(served(made, 6, 1002)).toEqual(['f0', 'b0', 'c0', 'f1', 'b1', 'f2']);
  });

  it('have queues that are young or old by themselves', () => {
    const { made, refused } = flooded(3);
    made.expire(1401);
    expect(refused.map(([name]) => name)).toEqual(['f0', 'f1', 'f2']);
    // The flood goes on in a queue that stands; the other one has just begun, and waits as long as a burst may.
    made.wait(call('f3', undefined, 'flood'), 1402);
    made.wait(call('b0', undefined, 'b'), 1402);
    made.expire(1440);
    expect(refused.at(-1)).toEqual(['f3', 'queue_wait']);
    expect(made.waiting.size).toBe(1);
    expect(made.expiresIn(1440)).toBe(100);
  });

  it('get a place in a full queue, which the longest line gives up', () => {
    const { made, refused } = flooded(10, {}, 10);
    for (const name of ['b0', 'b1']) expect(made.wait(call(name, undefined, 'b'), 1001)).toBeUndefined();
    expect(refused).toEqual([
      ['f9', 'queue_full'],
      ['f8', 'queue_full'],
    ]);
    expect(made.wait(call('f10', undefined, 'flood'), 1001)).toBe('queue_full');
    // Nobody gets more than the longest line has by it.
    const rest = Array.from({ length: 8 }, (_, index) => made.wait(call(`b${index + 2}`, undefined, 'b'), 1001));
    expect(rest.filter((why) => why === undefined).length).toBe(3);
    expect(made.waiting.size).toBe(10);
  });

  it('are bounded: more of them than there are lines wait in one', () => {
    const { made } = flooded(0);
    for (let index = 0; index < 1000; index++) made.wait(call(`${index}`, undefined, `share ${index}`), 1000);
    expect(made.waiting.busy.size).toBe(257);
    made.expire(1401);
    expect(made.waiting.size).toBe(0);
    made.wait(call('later', undefined, 'another'), 1402);
    expect([...made.waiting.busy].map(({ oldest }) => oldest?.call.name)).toEqual(['later']);
  });

  it('of which one sends little go beside a full service, one at a time, and come back to the limit', () => {
    const { made, first } = flooded(600);
    expect(made.next(1001)).toBeUndefined();
    const [b0, b1, c0] = [call('b0', undefined, 'b'), call('b1', undefined, 'b'), call('c0', undefined, 'c')];
    for (const each of [b0, b1, c0]) made.wait(each, 1001);
    expect(served(made, 3, 1001)).toEqual(['b0', 'c0', undefined]);
    for (const each of [b0, c0]) made.sent(each, 1001);
    // The limit knows of the first alone.
    expect(made.inFlight).toBe(1);
    made.gaveBack(b0, 1010, 'answered');
    expect(served(made, 2, 1010)).toEqual(['b1', undefined]);
    made.sent(b1, 1010);
    made.gaveBack(first, 1020, 'answered');
    expect(served(made, 1, 1020)).toEqual(['f0']);
    expect(made.inFlight).toBe(0);
  });

  it('go beside it in bounded number', () => {
    const { made } = flooded(600);
    for (let index = 0; index < 100; index++) made.wait(call(`${index}`, undefined, `share ${index}`), 1001);
    let beside = 0;
    for (let next = made.next(1001); next !== undefined; next = made.next(1001)) {
      made.sent(next, 1001);
      beside++;
    }
    expect(beside).toBe(16);
  });
});
