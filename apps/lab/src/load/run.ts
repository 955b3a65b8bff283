import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { AddressPool, forwardedAddress, loopbackAddress } from './address-pool.js';
import { Caller } from './caller.js';
import { GeneratorMonitor, type GeneratorSample, residentBytes, type WatchedService } from './monitor.js';
import type { MemorySample } from './leak.js';
import { messageShare, phaseAt, type PhaseName } from './phases.js';
import type { LoadPlan } from './plan.js';
import { RatePlanner } from './planner.js';
import { seededRandom, weighted } from './random.js';
import { nextMultiplier } from './rate-controller.js';
import { honestClient } from './honest-client.js';
import { RecoveryProbe, type Recovery } from './recovery.js';
import { Recorder, type Slice, type UnsentReason } from './recorder.js';
import type { Request } from './request.js';
import { actions, type Action } from './scenario.js';
import { SessionCreator } from './session-creator.js';
import { SessionDeleter } from './session-deleter.js';
import { type LiveSession, SessionManager } from './session-manager.js';
import { Transport } from './transport.js';
import { type User, Users } from './users.js';

/** A slice of the run with the state of things at its end. */
export interface Moment extends Slice {
  readonly phase: PhaseName;
  readonly sessions: number;
  /** Live at once so far, at the most. */
  readonly sessionsMost: number;
  readonly multiplier: number;
  readonly inFlight: number;
  readonly addressesResting: number;
  readonly generator: GeneratorSample;
}

/** What the live view shows. */
export interface LiveStatus {
  readonly phase: PhaseName;
  readonly elapsedMs: number;
  readonly moment: Moment;
  readonly recorder: Recorder;
}

export interface RunResult {
  readonly plan: LoadPlan;
  readonly startedAt: string;
  readonly endedAt: string;
  readonly elapsedMs: number;
  readonly interrupted: boolean;
  readonly recorder: Recorder;
  readonly moments: readonly Moment[];
  readonly sessions: {
    created: number;
    wanted: number;
    /** Live at once, at the most. */
    most: number;
    expired: number;
    lost: number;
    deleted: number;
  };
  /** Undefined: the scenario does not ask. */
  readonly recovery: Recovery | undefined;
  /** Sessions per real second, from the first that was created to the last; to the clean-up when some never were. */
  readonly createPerSecond: number;
  readonly generator: {
    cpuSeconds: number;
    cpuMost: number;
    lagP99MostMs: number;
    rssMostBytes: number;
    /** Opened in all. */
    connections: number;
  };
  readonly memory: readonly { service: string; samples: readonly MemorySample[] }[];
}

/** Charts have at most about this many points. */
const SLICES = 240;
const SLICE_MS_MIN = 250;
const MEMORY_EVERY_MS_MIN = 1_000;
/** A tick waits until the next call is due, within these bounds. */
const TICK_MS_MIN = 1;
const TICK_MS_MAX = 20;
/** How long calls under way may still take when the run is over. */
const DRAIN_MS = 10_000;
/**
 * Runs a plan against the target: one loop that sends what is due, whatever the answers do.
 *
 * @param onMoment told at the end of every slice
 * @param signal ends the run early: sessions are deleted in a hurry and the result says so
 */
export async function runLoad(
  plan: LoadPlan,
  watched: readonly WatchedService[],
  signal: AbortSignal,
  onMoment: (status: LiveStatus) => void,
): Promise<RunResult> {
  const mostSeconds = plan.scenario.thresholds.recovery_seconds_max;
  if (mostSeconds === undefined) return new Run(plan, watched, onMoment).go(signal);
  const transport = new Transport(plan.baseUrl, plan.addressMode, plan.callTimeoutMs);
  try {
    const probe = new RecoveryProbe(await honestClient(transport, plan));
    await probe.before(signal);
    const result = await new Run(plan, watched, onMoment).go(signal);
    return { ...result, recovery: await probe.after(mostSeconds * 1000, signal) };
  } finally {
    transport.close();
  }
}

class Run {
  private readonly random: () => number;
  private readonly originMs = performance.now();
  private readonly startedAt = new Date().toISOString();
  private readonly recorder = new Recorder();
  private readonly monitor = new GeneratorMonitor();
  private readonly transport: Transport;
  private readonly addresses: AddressPool;
  private readonly caller: Caller;
  private readonly sessions: SessionManager<User>;
  private readonly actionOf: (random: number) => Action;
  private readonly creator: SessionCreator;
  private readonly deleter: SessionDeleter;
  private readonly calls: RatePlanner;
  private readonly moments: Moment[] = [];
  private readonly memory: { service: string; samples: MemorySample[] }[];
  private multiplier = 1;
  private nextControlMs: number;
  private readonly sliceMs: number;
  private nextSliceMs: number;
  private nextMemoryMs = 0;

  constructor(
    private readonly plan: LoadPlan,
    private readonly watched: readonly WatchedService[],
    private readonly onMoment: (status: LiveStatus) => void,
  ) {
    const { scenario, phases } = plan;
    this.random = seededRandom(plan.seed);
    this.transport = new Transport(plan.baseUrl, plan.addressMode, plan.callTimeoutMs);
    const addressOf = plan.addressMode === 'forwarded' ? forwardedAddress : loopbackAddress;
    this.addresses = new AddressPool(plan.addressCount, addressOf, plan.backOff, this.random);
    const now = () => performance.now() - this.originMs;
    this.caller = new Caller(plan, this.transport, this.addresses, this.recorder, this.random, now, this.originMs);
    const users = new Users(randomBytes(6).toString('hex'), scenario.tenants, this.random);
    this.sessions = new SessionManager(plan.idleMs, plan.cleanUpEveryMs, this.random);
    this.actionOf = weighted(actions.map((action) => ({ item: action, weight: scenario.mix[action] })));
    const shared = [plan, this.caller, this.addresses] as const;
    this.creator = new SessionCreator(...shared, users, this.sessions, this.random, now);
    this.deleter = new SessionDeleter(...shared, this.recorder, this.sessions, now);
    this.calls = new RatePlanner(
      (elapsedMs) => plan.callsPerSecond * this.multiplier * messageShare(phases, elapsedMs),
      phases.growMs,
    );
    this.nextControlMs = phases.growMs + plan.controlIntervalMs;
    this.sliceMs = Math.max(SLICE_MS_MIN, phases.endMs / SLICES);
    this.nextSliceMs = this.sliceMs;
    this.memory = watched.map(({ name }) => ({ service: name, samples: [] }));
  }

  async go(signal: AbortSignal): Promise<RunResult> {
    const { endMs } = this.plan.phases;
    try {
      await this.tickUntil(endMs, signal);
      await this.deleter.hurry(false);
      await this.drained(DRAIN_MS);
      // Sessions whose creation, or whose last call, was under way at the end.
      await this.deleter.hurry(true);
    } finally {
      this.transport.close();
      this.monitor.stop();
    }
    this.cutSlice(this.now());
    return this.result(signal.aborted);
  }

  private now(): number {
    return performance.now() - this.originMs;
  }

  private nextDueMs(nowMs: number): number {
    const { cleanUpMs } = this.plan.phases;
    if (nowMs >= cleanUpMs) return this.deleter.next;
    return Math.min(this.creator.next, this.calls.next, this.nextControlMs, cleanUpMs);
  }

  /** A chain of plain timers: a promise a millisecond would cost more than the ticks. */
  private tickUntil(endMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const next = () => {
        const nowMs = this.now();
        if (nowMs >= endMs || signal.aborted) return resolve();
        try {
          this.tick(nowMs);
          const waitMs = this.nextDueMs(nowMs) - this.now();
          setTimeout(next, Math.max(TICK_MS_MIN, Math.min(TICK_MS_MAX, waitMs)));
        } catch (error) {
          reject(error as Error);
        }
      };
      next();
    });
  }

  private tick(nowMs: number): void {
    const { phases } = this.plan;
    if (nowMs < phases.cleanUpMs) {
      this.creator.due(nowMs);
      for (const plannedMs of this.calls.due(nowMs)) this.act(plannedMs, nowMs);
      if (nowMs >= this.nextControlMs) this.control();
      this.sessions.cleanUp(nowMs);
    } else {
      this.deleter.due(nowMs);
    }
    if (nowMs >= this.nextSliceMs) this.cutSlice(nowMs);
    if (nowMs >= this.nextMemoryMs) this.readMemory(nowMs);
  }

  /** One planned call of a random live session. */
  private act(plannedMs: number, nowMs: number): void {
    const kind = this.actionOf(this.random());
    if (this.caller.inFlight >= this.plan.inFlightMax) return this.unsent(kind, 'too many calls under way');
    const session = this.sessions.pick(nowMs);
    if (!session) return this.unsent(kind, 'no live session');
    if (session.user.heldUntilMs > nowMs) return this.unsent(kind, 'the user rests');
    const from = this.addresses.take(nowMs);
    if (!from) return this.unsent(kind, 'every address rests');
    const request = this.requestOf(kind, session);
    session.underWay++;
    this.caller.asUser(session.user, { kind, plannedMs, from, request }, (answer) => {
      session.underWay--;
      if (answer.status === 404) this.sessions.gone(session);
    });
  }

  private unsent(kind: Action, reason: UnsentReason): void {
    this.recorder.planned(kind);
    this.recorder.unsentBecause(reason);
  }

  private requestOf(kind: Action, { requests }: LiveSession<User>): Request {
    if (kind !== 'message') return requests[kind];
    const { messages } = this.plan.scenario;
    const text = messages[Math.floor(this.random() * messages.length)]!;
    return { head: requests.message, body: JSON.stringify({ text }), keep: 'last line' };
  }

  private control(): void {
    this.nextControlMs += this.plan.controlIntervalMs;
    const { min, max } = this.plan.scenario.multiplier;
    const bounds = { multiplierMin: min, multiplierMax: max };
    this.multiplier = nextMultiplier(this.multiplier, this.caller.interval, bounds);
    this.caller.interval = { answered: 0, refused: 0 };
  }

  private async drained(mostMs: number): Promise<void> {
    const deadline = this.now() + mostMs;
    while (this.caller.inFlight > 0 && this.now() < deadline) {
      if (this.now() >= this.nextSliceMs) this.cutSlice(this.now());
      await delay(10);
    }
  }

  private cutSlice(nowMs: number): void {
    const slice = this.recorder.cut(nowMs);
    this.nextSliceMs = nowMs + this.sliceMs;
    const moment: Moment = {
      ...slice,
      phase: phaseAt(this.plan.phases, nowMs),
      sessions: this.sessions.count,
      sessionsMost: this.sessions.most,
      multiplier: this.multiplier,
      inFlight: this.caller.inFlight,
      addressesResting: this.addresses.held(nowMs),
      generator: this.monitor.sample(),
    };
    this.moments.push(moment);
    this.onMoment({ phase: moment.phase, elapsedMs: nowMs, moment, recorder: this.recorder });
  }

  private readMemory(nowMs: number): void {
    this.nextMemoryMs = nowMs + Math.max(MEMORY_EVERY_MS_MIN, this.sliceMs);
    for (const [index, service] of this.watched.entries()) {
      void residentBytes(service).then((bytes) => {
        if (bytes !== undefined) this.memory[index]!.samples.push({ atMs: nowMs, bytes });
      });
    }
  }

  private result(interrupted: boolean): RunResult {
    const { created, most, expired, lost } = this.sessions;
    const { cpuSeconds, cpuMost, lagP99MostMs, rssMostBytes } = this.monitor;
    return {
      plan: this.plan,
      startedAt: this.startedAt,
      endedAt: new Date().toISOString(),
      elapsedMs: this.now(),
      interrupted,
      recorder: this.recorder,
      moments: this.moments,
      sessions: { created, wanted: this.plan.scenario.sessions, most, expired, lost, deleted: this.deleter.deleted },
      createPerSecond: this.creator.perSecond(),
      recovery: undefined,
      generator: { cpuSeconds, cpuMost, lagP99MostMs, rssMostBytes, connections: this.transport.connections },
      memory: this.memory,
    };
  }
}
