import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { AddressPool, type ClientAddress, forwardedAddress, loopbackAddress } from './address-pool.js';
import { Caller, type EndedCall, type WantedCall } from './caller.js';
import { GeneratorMonitor, type GeneratorSample, residentBytes, type WatchedService } from './monitor.js';
import type { MemorySample } from './leak.js';
import { parse } from './outcome.js';
import { messageShare, phaseAt, type PhaseName } from './phases.js';
import type { LoadPlan } from './plan.js';
import { Agenda, EvenPlan, RatePlanner } from './planner.js';
import { seededRandom, weighted } from './random.js';
import { backOffMs, nextMultiplier } from './rate-controller.js';
import { Recorder, type Slice } from './recorder.js';
import { actions, type Action } from './scenario.js';
import { type LiveSession, SessionManager } from './session-manager.js';
import { Transport, type Request } from './transport.js';
import { type User, Users } from './users.js';

/** A slice of the run with the state of things at its end. */
export interface Moment extends Slice {
  readonly phase: PhaseName;
  readonly sessions: number;
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
  readonly sessions: { created: number; wanted: number; expired: number; lost: number; deleted: number };
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

/** A session that is to be created. */
interface Creation {
  readonly index: number;
  /** Times in a row that it was not. */
  failures: number;
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
/** How long deleting what is left may take at the end, and how many at once. */
const HURRIED_CLEAN_UP_MS = 10_000;
const HURRIED_DELETES = 50;
/** The clean-up deletes within this share of its phase, so that the last answers fall into it. */
const DELETE_SHARE = 0.8;

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
  const run = new Run(plan, watched, onMoment);
  return run.go(signal);
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
  private readonly users: Users;
  private readonly sessions: SessionManager<User>;
  private readonly actionOf: (random: number) => Action;
  private readonly creations: EvenPlan;
  private readonly retries = new Agenda<Creation>();
  private readonly calls: RatePlanner;
  private readonly moments: Moment[] = [];
  private readonly memory: { service: string; samples: MemorySample[] }[];
  private multiplier = 1;
  private deletions: EvenPlan | undefined;
  private deleted = 0;
  private firstCreatedMs = 0;
  private lastCreatedMs = 0;
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
    this.users = new Users(randomBytes(6).toString('hex'), scenario.tenants, this.random);
    this.sessions = new SessionManager(plan.idleMs, plan.cleanUpEveryMs, this.random);
    this.actionOf = weighted(actions.map((action) => ({ item: action, weight: scenario.mix[action] })));
    this.creations = new EvenPlan(scenario.sessions, 0, plan.createPerSecond);
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
      await this.deleteInHurry(false);
      await this.drained(DRAIN_MS);
      // Sessions whose creation, or whose last call, was under way at the end.
      await this.deleteInHurry(true);
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

  private nextDueMs(): number {
    if (this.deletions) return this.deletions.next;
    const calls = Math.min(this.creations.next, this.retries.next, this.calls.next);
    return Math.min(calls, this.nextControlMs, this.plan.phases.cleanUpMs);
  }

  /** A chain of plain timers: a promise a millisecond would cost more than the ticks. */
  private tickUntil(endMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const next = () => {
        const nowMs = this.now();
        if (nowMs >= endMs || signal.aborted) return resolve();
        try {
          this.tick(nowMs);
          setTimeout(next, Math.max(TICK_MS_MIN, Math.min(TICK_MS_MAX, this.nextDueMs() - this.now())));
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
      for (const plannedMs of this.creations.due(nowMs)) this.create({ index: this.created(), failures: 0 }, plannedMs);
      for (const { what, atMs } of this.retries.due(nowMs)) this.create(what, atMs);
      for (const plannedMs of this.calls.due(nowMs)) this.act(plannedMs, nowMs);
      if (nowMs >= this.nextControlMs) this.control();
      this.sessions.cleanUp(nowMs);
    } else {
      this.deletions ??= this.planDeletions(nowMs);
      for (const plannedMs of this.deletions.due(nowMs)) this.deleteOne(plannedMs);
    }
    if (nowMs >= this.nextSliceMs) this.cutSlice(nowMs);
    if (nowMs >= this.nextMemoryMs) this.readMemory(nowMs);
  }

  /** The index of the session that was just taken from the plan. */
  private created(): number {
    return this.plan.scenario.sessions - this.creations.left - 1;
  }

  private create(task: Creation, plannedMs: number): void {
    const user = this.users.get(Math.floor(task.index / this.plan.scenario.sessions_per_user));
    const nowMs = this.now();
    const from = user.heldUntilMs > nowMs ? undefined : this.addresses.take(nowMs);
    if (!from) {
      this.retries.add(Math.max(user.heldUntilMs, nowMs + this.plan.backOff.firstMs), task);
      return;
    }
    void this.createSession(user, from, plannedMs).then((made) => {
      if (made) return;
      task.failures++;
      const again = this.now() + backOffMs(this.plan.backOff, task.failures, 0, this.random());
      if (again < this.plan.phases.cleanUpMs) this.retries.add(again, task);
    });
  }

  private async createSession(user: User, from: ClientAddress, plannedMs: number): Promise<boolean> {
    let plannedCreateMs = plannedMs;
    if (user.accessToken === '') {
      const { outcome } = await this.caller.acquire(user, from, plannedMs);
      if (outcome.kind !== 'ok' || user.accessToken === '') return false;
      plannedCreateMs = this.now();
    }
    const request: Request = { method: 'POST', path: '/api/v1/sessions', body: '{}', keep: 'all' };
    const ended = await this.call(user, { kind: 'create', plannedMs: plannedCreateMs, from, request });
    const id = ended.outcome.kind === 'ok' ? parse(ended.answer.body)['id'] : undefined;
    if (typeof id !== 'string') return false;
    this.lastCreatedMs = this.now();
    if (this.sessions.created === 0) this.firstCreatedMs = this.lastCreatedMs;
    this.sessions.add(id, user, this.lastCreatedMs);
    return true;
  }

  private call(user: User, wanted: WantedCall): Promise<EndedCall> {
    return new Promise((resolve) => this.caller.asUser(user, wanted, resolve));
  }

  /** One planned call of a random live session. */
  private act(plannedMs: number, nowMs: number): void {
    const kind = this.actionOf(this.random());
    const unsent = (reason: Parameters<Recorder['unsentBecause']>[0]) => {
      this.recorder.planned(kind);
      this.recorder.unsentBecause(reason);
    };
    if (this.caller.inFlight >= this.plan.inFlightMax) return unsent('too many calls under way');
    const session = this.sessions.pick(nowMs);
    if (!session) return unsent('no live session');
    if (session.user.heldUntilMs > nowMs) return unsent('the user rests');
    const from = this.addresses.take(nowMs);
    if (!from) return unsent('every address rests');
    const request = this.requestOf(kind, session);
    session.underWay++;
    this.caller.asUser(session.user, { kind, plannedMs, from, request }, ({ answer }) => {
      session.underWay--;
      if (answer.status === 404) this.sessions.gone(session);
    });
  }

  private requestOf(kind: Action, session: LiveSession<User>): Request {
    const path = `/api/v1/sessions/${encodeURIComponent(session.id)}`;
    if (kind === 'session') return { method: 'GET', path, keep: 'nothing' };
    if (kind === 'history') return { method: 'GET', path: `${path}/messages`, keep: 'nothing' };
    const { messages } = this.plan.scenario;
    const text = messages[Math.floor(this.random() * messages.length)]!;
    return {
      method: 'POST',
      path: `${path}/messages`,
      accept: 'application/x-ndjson',
      body: JSON.stringify({ text }),
      keep: 'last line',
    };
  }

  private control(): void {
    this.nextControlMs += this.plan.controlIntervalMs;
    const { min, max } = this.plan.scenario.multiplier;
    const bounds = { multiplierMin: min, multiplierMax: max };
    this.multiplier = nextMultiplier(this.multiplier, this.caller.interval, bounds);
    this.caller.interval = { answered: 0, refused: 0 };
  }

  private planDeletions(nowMs: number): EvenPlan {
    const seconds = ((this.plan.phases.endMs - nowMs) * DELETE_SHARE) / 1000;
    return new EvenPlan(this.sessions.count, nowMs, Math.max(1, this.sessions.count / Math.max(0.001, seconds)));
  }

  private deleteOne(plannedMs: number): void {
    const from = this.addresses.take(this.now());
    const session = this.sessions.takeOne(false);
    if (!session) return;
    if (!from) {
      this.recorder.planned('delete');
      this.recorder.unsentBecause('every address rests');
      return;
    }
    void this.deleteSession(session, from, plannedMs);
  }

  private async deleteSession(session: LiveSession<User>, from: ClientAddress, plannedMs: number): Promise<void> {
    const path = `/api/v1/sessions/${encodeURIComponent(session.id)}`;
    const request: Request = { method: 'DELETE', path, keep: 'nothing' };
    const { outcome } = await this.call(session.user, { kind: 'delete', plannedMs, from, request });
    if (outcome.kind === 'ok') this.deleted++;
  }

  /** Deletes what an interruption, or the clean-up, has left: a few at once, until all is deleted or the time is over. */
  private async deleteInHurry(anyway: boolean): Promise<void> {
    const deadline = this.now() + HURRIED_CLEAN_UP_MS;
    let turn = 0;
    const worker = async () => {
      for (;;) {
        const session = this.now() < deadline ? this.sessions.takeOne(anyway) : undefined;
        if (!session) return;
        const from = this.addresses.addresses[turn++ % this.addresses.addresses.length]!;
        await this.deleteSession(session, from, this.now());
      }
    };
    await Promise.race([
      Promise.all(Array.from({ length: HURRIED_DELETES }, worker)),
      delay(HURRIED_CLEAN_UP_MS, undefined, { ref: false }),
    ]);
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

  /** Counts the steps between creations, so that the time that the first one took does not count. */
  private createPerSecond(): number {
    const { created } = this.sessions;
    const all = created === this.plan.scenario.sessions;
    const untilMs = all ? this.lastCreatedMs : Math.min(this.now(), this.plan.phases.cleanUpMs);
    const seconds = (untilMs - this.firstCreatedMs) / 1000;
    return created < 2 || seconds <= 0 ? 0 : (created - 1) / seconds;
  }

  private result(interrupted: boolean): RunResult {
    const { created, expired, lost } = this.sessions;
    const { cpuSeconds, cpuMost, lagP99MostMs, rssMostBytes } = this.monitor;
    return {
      plan: this.plan,
      startedAt: this.startedAt,
      endedAt: new Date().toISOString(),
      elapsedMs: this.now(),
      interrupted,
      recorder: this.recorder,
      moments: this.moments,
      sessions: { created, wanted: this.plan.scenario.sessions, expired, lost, deleted: this.deleted },
      createPerSecond: this.createPerSecond(),
      generator: { cpuSeconds, cpuMost, lagP99MostMs, rssMostBytes, connections: this.transport.connections },
      memory: this.memory,
    };
  }
}
