import type { AddressPool, ClientAddress } from './address-pool.js';
import type { Caller } from './caller.js';
import { parse } from './outcome.js';
import type { LoadPlan } from './plan.js';
import { Agenda, EvenPlan } from './planner.js';
import { backOffMs } from './rate-controller.js';
import { type Request, RequestHead } from './request.js';
import type { SessionManager } from './session-manager.js';
import type { User, Users } from './users.js';

/** A session that is to be created. */
interface Creation {
  readonly index: number;
  /** Times in a row that it was not. */
  failures: number;
}

/** Creates the sessions of a run as planned, each with its user's first token; tries again what was refused or has failed. */
export class SessionCreator {
  private readonly planned: EvenPlan;
  private readonly retries = new Agenda<Creation>();
  private firstMs = 0;
  private lastMs = 0;

  constructor(
    private readonly plan: LoadPlan,
    private readonly caller: Caller,
    private readonly addresses: AddressPool,
    private readonly users: Users,
    private readonly sessions: SessionManager<User>,
    private readonly random: () => number,
    private readonly now: () => number,
  ) {
    this.planned = new EvenPlan(plan.scenario.sessions, 0, plan.createPerSecond);
  }

  /** The moment at which to ask again. */
  get next(): number {
    return Math.min(this.planned.next, this.retries.next);
  }

  /** Sends what is due. */
  due(nowMs: number): void {
    for (const plannedMs of this.planned.due(nowMs)) {
      this.create({ index: this.plan.scenario.sessions - this.planned.left - 1, failures: 0 }, plannedMs);
    }
    for (const { what, atMs } of this.retries.due(nowMs)) this.create(what, atMs);
  }

  /**
   * Sessions per second, from the first that was created to the last; to the clean-up when some never were. Counts the steps
   * between creations, so that the time that the first one took does not count.
   */
  perSecond(): number {
    const { created } = this.sessions;
    const all = created === this.plan.scenario.sessions;
    const untilMs = all ? this.lastMs : Math.min(this.now(), this.plan.phases.cleanUpMs);
    const seconds = (untilMs - this.firstMs) / 1000;
    return created < 2 || seconds <= 0 ? 0 : (created - 1) / seconds;
  }

  private create(creation: Creation, plannedMs: number): void {
    const { backOff, phases, scenario } = this.plan;
    const user = this.users.get(Math.floor(creation.index / scenario.sessions_per_user));
    const nowMs = this.now();
    const from = user.heldUntilMs > nowMs ? undefined : this.addresses.take(nowMs);
    if (!from) {
      this.retries.add(Math.max(user.heldUntilMs, nowMs + backOff.firstMs), creation);
      return;
    }
    void this.send(user, from, plannedMs).then((made) => {
      if (made) return;
      creation.failures++;
      const again = this.now() + backOffMs(backOff, creation.failures, 0, this.random());
      if (again < phases.cleanUpMs) this.retries.add(again, creation);
    });
  }

  private async send(user: User, from: ClientAddress, plannedMs: number): Promise<boolean> {
    let plannedCreateMs = plannedMs;
    if (user.accessToken === '') {
      const { outcome } = await this.caller.acquire(user, from, plannedMs);
      if (outcome.kind !== 'ok' || user.accessToken === '') return false;
      plannedCreateMs = this.now();
    }
    const request: Request = { head: new RequestHead('POST', '/api/v1/sessions'), body: '{}', keep: 'all' };
    const wanted = { kind: 'create', plannedMs: plannedCreateMs, from, request } as const;
    const { outcome, answer } = await this.caller.ended(user, wanted);
    const id = outcome.kind === 'ok' ? parse(answer.body)['id'] : undefined;
    if (typeof id !== 'string') return false;
    this.lastMs = this.now();
    if (this.sessions.created === 0) this.firstMs = this.lastMs;
    this.sessions.add(id, user, this.lastMs);
    return true;
  }
}
