import { setTimeout as delay } from 'node:timers/promises';
import type { AddressPool, ClientAddress } from './address-pool.js';
import type { Caller } from './caller.js';
import type { LoadPlan } from './plan.js';
import { EvenPlan } from './planner.js';
import type { Recorder } from './recorder.js';
import type { LiveSession, SessionManager } from './session-manager.js';
import type { User } from './users.js';

/** How long deleting what is left may take at the end, and how many at once. */
const HURRY_MS = 10_000;
const HURRIED_AT_ONCE = 50;
/** The clean-up deletes within this share of its phase, so that the last answers fall into it. */
const DELETE_SHARE = 0.8;

/** Deletes the sessions of a run: evenly through the clean-up, and at the end in a hurry what is left. */
export class SessionDeleter {
  private planned: EvenPlan | undefined;
  deleted = 0;

  constructor(
    private readonly plan: LoadPlan,
    private readonly caller: Caller,
    private readonly addresses: AddressPool,
    private readonly recorder: Recorder,
    private readonly sessions: SessionManager<User>,
    private readonly now: () => number,
  ) {}

  /** The moment at which to ask again, once the clean-up has begun. */
  get next(): number {
    return this.planned?.next ?? this.plan.phases.cleanUpMs;
  }

  /** Sends what is due in the clean-up. */
  due(nowMs: number): void {
    this.planned ??= this.evenly(nowMs);
    for (const plannedMs of this.planned.due(nowMs)) {
      const from = this.addresses.take(nowMs);
      const session = from && this.sessions.takeOne(false);
      if (session) void this.send(session, from, plannedMs);
      else if (!from) {
        // The session stays for the hurry at the end.
        this.recorder.planned('delete');
        this.recorder.unsentBecause('every address rests');
      }
    }
  }

  /**
   * Deletes what an interruption, or the clean-up, has left: a few at once, until all is deleted or the time is over.
   *
   * @param anyway also sessions with calls under way
   */
  async hurry(anyway: boolean): Promise<void> {
    const deadline = this.now() + HURRY_MS;
    const { addresses } = this.addresses;
    let turn = 0;
    const worker = async () => {
      for (;;) {
        const session = this.now() < deadline ? this.sessions.takeOne(anyway) : undefined;
        if (!session) return;
        await this.send(session, addresses[turn++ % addresses.length]!, this.now());
      }
    };
    await Promise.race([
      Promise.all(Array.from({ length: HURRIED_AT_ONCE }, worker)),
      delay(HURRY_MS, undefined, { ref: false }),
    ]);
  }

  private evenly(nowMs: number): EvenPlan {
    const seconds = ((this.plan.phases.endMs - nowMs) * DELETE_SHARE) / 1000;
    return new EvenPlan(this.sessions.count, nowMs, Math.max(1, this.sessions.count / Math.max(0.001, seconds)));
  }

  private async send(session: LiveSession<User>, from: ClientAddress, plannedMs: number): Promise<void> {
    const { user, requests } = session;
    const { outcome } = await this.caller.ended(user, { kind: 'delete', plannedMs, from, request: requests.delete });
    if (outcome.kind === 'ok') this.deleted++;
  }
}
