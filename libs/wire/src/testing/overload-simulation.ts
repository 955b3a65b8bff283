/**
 * A gateway before a service, on a clock of its own. Callers come at random, and go when their deadline has passed. The service
 * has some workers and a queue without bound, and works on for callers that have left: the worst that there is.
 */
import { Admission } from '../client/admission/admission.js';
import type { AdmittedCall, Limiter } from '../client/admission/limiter.js';

export interface Scenario {
  readonly seed: number;
  readonly workers: number;
  /** Draws what a call costs a worker, in milliseconds. */
  readonly cost: (random: () => number) => number;
  /** Calls a millisecond that come at a time. */
  readonly rate: (now: number) => number;
  /** Calls that come all at once, by time. */
  readonly bursts?: readonly (readonly [at: number, calls: number])[];
  /** Callers who each make one call after the other. */
  readonly loop?: number;
  readonly deadlineMs: number;
  readonly durationMs: number;
  /** What becomes of the service at a time: its workers, and how much slower each is. */
  readonly changes?: readonly (readonly [at: number, workers: number, slower: number])[];
  readonly limiter: Limiter;
  readonly maxQueued?: number;
  /** Callers do not tell their deadline: they leave. */
  readonly leave?: boolean;
}

export interface SimulatedCall extends AdmittedCall {
  readonly at: number;
  deadline: number | undefined;
  leavesAt: number;
  end: number;
  outcome: 'ok' | 'late' | 'refused' | undefined;
}

/** How much time a message takes on the way, in milliseconds. */
const NETWORK_MS = 0.25;
/** Timers of the real thing are so coarse. */
const TICK_MS = 8;

export function simulate(scenario: Scenario): SimulatedCall[] {
  const { workers: workersAtFirst, cost, limiter, deadlineMs, durationMs } = scenario;
  const events = new EventQueue();
  const arrivals = generator(scenario.seed);
  const costs = generator(scenario.seed + 77);
  const calls: SimulatedCall[] = [];
  const admission = new Admission<SimulatedCall>(
    limiter,
    { maxQueued: scenario.maxQueued ?? 10_000, maxWaitMs: 'patience' },
    (call) => settle(call, 'refused'),
  );

  let workers = workersAtFirst;
  let slower = 1;
  let busy = 0;
  const backlog: SimulatedCall[] = [];
  let served = 0;
  const work = () => {
    while (busy < workers && served < backlog.length) {
      const call = backlog[served++]!;
      busy++;
      events.add(cost(costs) * slower, () => {
        busy--;
        events.add(NETWORK_MS, () => answered(call));
        work();
      });
    }
  };
  for (const [at, count, factor] of scenario.changes ?? []) {
    events.add(at, () => {
      workers = count;
      slower = factor;
      work();
    });
  }

  function settle(call: SimulatedCall, outcome: NonNullable<SimulatedCall['outcome']>): void {
    call.outcome = outcome;
    call.end = events.now;
    if (scenario.loop !== undefined) events.add(outcome === 'refused' ? 1000 : 0.1, arrive);
  }
  function answered(call: SimulatedCall): void {
    if (call.outcome !== undefined) return;
    settle(call, 'ok');
    admission.gaveBack(call, events.now, 'answered');
    drain();
  }
  function gone(call: SimulatedCall): void {
    if (call.outcome !== undefined) return;
    settle(call, 'late');
    if (call.sentAt === 0) admission.left(call, events.now);
    else admission.gaveBack(call, events.now, scenario.leave ? 'lost' : 'late');
    drain();
  }
  function send(call: SimulatedCall): void {
    admission.sent(call, events.now);
    events.add(NETWORK_MS, () => {
      backlog.push(call);
      work();
    });
  }
  function drain(): void {
    for (;;) {
      const call = admission.next(events.now);
      if (call === undefined) return;
      send(call);
    }
  }
  function arrive(): void {
    const { now } = events;
    if (now >= durationMs) return;
    const leavesAt = now + deadlineMs;
    const deadline = scenario.leave ? undefined : leavesAt;
    const call: SimulatedCall = {
      at: now,
      deadline,
      leavesAt,
      sentAt: 0,
      cohort: 0,
      arrivedAt: 0,
      waitMs: 0,
      share: '',
      beside: undefined,
      end: 0,
      outcome: undefined,
    };
    calls.push(call);
    if (admission.open) send(call);
    else if (admission.wait(call, now) !== undefined) return settle(call, 'refused');
    events.add(deadlineMs, () => gone(call));
  }
  const tick = () => {
    admission.expire(events.now);
    drain();
    if (events.now < durationMs) events.add(TICK_MS, tick);
  };
  tick();
  for (const [at, count] of scenario.bursts ?? []) {
    events.add(at, () => {
      for (let index = 0; index < count; index++) arrive();
    });
  }
  for (let index = 0; index < (scenario.loop ?? 0); index++) events.add(arrivals() * 10, arrive);
  const next = () => {
    const rate = scenario.rate(events.now);
    // Looked at again soon when nobody comes at present.
    const wait = rate > 0 ? Math.min(-Math.log(1 - arrivals()) / rate, 1000) : 10;
    if (events.now + wait >= durationMs) return;
    events.add(wait, () => {
      if (rate > 0) arrive();
      next();
    });
  };
  next();
  events.run(durationMs + 3 * deadlineMs);
  return calls;
}

/** Shares of the calls that came between two times. */
export function sharesOf(calls: readonly SimulatedCall[], from: number, to: number) {
  const counts = { ok: 0, late: 0, refused: 0 };
  const took: number[] = [];
  let all = 0;
  for (const { at, end, outcome, sentAt } of calls) {
    if (at < from || at >= to) continue;
    all++;
    if (outcome !== undefined) counts[outcome]++;
    if (outcome === 'ok' || (outcome === 'late' && sentAt === 0)) took.push(end - at);
  }
  took.sort((a, b) => a - b);
  return {
    ...counts,
    all,
    answered: counts.ok / Math.max(1, all),
    /** Answers in a millisecond. */
    rate: counts.ok / (to - from),
    p99: took[Math.min(took.length - 1, Math.floor(took.length * 0.99))] ?? 0,
  };
}

/** Mulberry32: numbers from 0 to 1 that a seed repeats. */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** A log-normal distribution. */
export function logNormal(mean: number, deviation: number): (random: () => number) => number {
  const variance = Math.log(1 + (deviation / mean) ** 2);
  const middle = Math.log(mean) - variance / 2;
  return (random) => {
    const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    return Math.exp(middle + Math.sqrt(variance) * normal);
  };
}

/** What is to happen, soonest first; a binary heap. */
class EventQueue {
  now = 0;
  private readonly heap: { at: number; order: number; what: () => void }[] = [];
  private order = 0;

  add(inMs: number, what: () => void): void {
    const { heap } = this;
    const event = { at: this.now + inMs, order: this.order++, what };
    let index = heap.length;
    heap.push(event);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!before(event, heap[parent]!)) break;
      heap[index] = heap[parent]!;
      index = parent;
    }
    heap[index] = event;
  }

  run(until: number): void {
    const { heap } = this;
    while (heap.length > 0 && heap[0]!.at <= until) {
      const { at, what } = heap[0]!;
      this.removeFirst();
      this.now = at;
      what();
    }
  }

  private removeFirst(): void {
    const { heap } = this;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = last;
  }
}

interface Ordered {
  readonly at: number;
  readonly order: number;
}
function before(one: Ordered, other: Ordered): boolean {
  return one.at < other.at || (one.at === other.at && one.order < other.order);
}
