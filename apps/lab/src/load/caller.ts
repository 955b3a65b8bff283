import type { AddressPool, ClientAddress } from './address-pool.js';
import type { LoadPlan } from './plan.js';
import { backOffMs } from './rate-controller.js';
import { outcomeOf, outcomeOfStream, parse, type Outcome } from './outcome.js';
import type { CallKind, Recorder } from './recorder.js';
import type { Answer, Request, Transport } from './transport.js';
import type { User } from './users.js';

/** A call that has ended. */
export interface EndedCall {
  readonly answer: Answer;
  readonly outcome: Outcome;
}

/** What to send; the user's token and headers are added. */
export interface WantedCall {
  readonly kind: CallKind;
  readonly plannedMs: number;
  readonly from: ClientAddress;
  readonly request: Request;
}

/**
 * Sends calls as `@sluice/client` would: an expired token is refreshed once for all calls of the user that meet it, each is
 * replayed once, a refused call (429) is not retried, and whoever was refused rests as long as told.
 */
export class Caller {
  inFlight = 0;
  /** Since the controller last looked. */
  interval = { answered: 0, refused: 0 };

  constructor(
    private readonly plan: LoadPlan,
    private readonly transport: Transport,
    private readonly addresses: AddressPool,
    private readonly recorder: Recorder,
    private readonly random: () => number,
    /** Milliseconds since the start of the run. */
    private readonly now: () => number,
    /** The start of the run on the clock of `performance.now()`. */
    private readonly originMs: number,
  ) {}

  /** A call of a user who has a token. */
  async asUser(user: User, wanted: WantedCall): Promise<EndedCall> {
    this.recorder.planned(wanted.kind);
    if (user.expiresAtMs <= this.now()) await this.refresh(user, wanted.from);
    const used = user.accessToken;
    const sentMs = this.now();
    this.recorder.sent(wanted.kind, wanted.plannedMs, sentMs);
    let answer = await this.exchange(user, wanted);
    if (answer.status === 401 && (user.accessToken !== used || (await this.refresh(user, wanted.from)))) {
      answer = await this.exchange(user, wanted);
    }
    return this.record(wanted, sentMs, answer, user);
  }

  /** Gets the first token of a user, as a guest or with an account; calls for the same user share it. */
  acquire(user: User, from: ClientAddress, plannedMs: number): Promise<EndedCall> {
    const { users } = this.plan.scenario;
    user.acquiring ??= (
      users === 'guests' ? this.beGuest(user, from, plannedMs) : this.signIn(user, from, plannedMs)
    ).finally(() => (user.acquiring = undefined));
    return user.acquiring;
  }

  private beGuest(user: User, from: ClientAddress, plannedMs: number): Promise<EndedCall> {
    const body = { device_id: user.name, cause: 'no_token', ...tenantOf(user) };
    return this.tokens(user, from, { kind: 'guest', plannedMs, path: '/api/v1/auth/guest', body });
  }

  private async signIn(user: User, from: ClientAddress, plannedMs: number): Promise<EndedCall> {
    const account = { email: `${user.name}@lab.invalid`, password: user.password, ...tenantOf(user) };
    if (!user.registered) {
      const register = { kind: 'register', plannedMs, path: '/api/v1/auth/register', body: account } as const;
      const ended = await this.tokens(user, from, register);
      user.registered = ended.outcome.kind === 'ok';
      if (!user.registered) return ended;
    }
    return this.tokens(user, from, { kind: 'login', plannedMs: this.now(), path: '/api/v1/auth/login', body: account });
  }

  private async refresh(user: User, from: ClientAddress): Promise<boolean> {
    user.acquiring ??= this.tokens(user, from, {
      kind: 'refresh',
      plannedMs: this.now(),
      path: '/api/v1/auth/refresh',
      body: { refresh_token: user.refreshToken },
    }).finally(() => (user.acquiring = undefined));
    return (await user.acquiring).outcome.kind === 'ok';
  }

  private async tokens(
    user: User,
    from: ClientAddress,
    call: { kind: CallKind; plannedMs: number; path: string; body: object },
  ): Promise<EndedCall> {
    this.recorder.planned(call.kind);
    const sentMs = this.now();
    this.recorder.sent(call.kind, call.plannedMs, sentMs);
    const request: Request = {
      method: 'POST',
      path: call.path,
      headers: {},
      body: JSON.stringify(call.body),
      keep: 'all',
    };
    const wanted = { ...call, from, request };
    const ended = this.record(wanted, sentMs, await this.exchange(user, wanted, false), user);
    const answer = parse(ended.answer.body);
    if (ended.outcome.kind === 'ok' && typeof answer['access_token'] === 'string') {
      user.accessToken = answer['access_token'];
      if (typeof answer['refresh_token'] === 'string') user.refreshToken = answer['refresh_token'];
      const seconds = typeof answer['expires_in'] === 'number' ? answer['expires_in'] : Number.POSITIVE_INFINITY;
      user.expiresAtMs = this.now() + seconds * 1000;
    }
    return ended;
  }

  private async exchange(user: User, { from, request }: WantedCall, authorized = true): Promise<Answer> {
    this.inFlight++;
    try {
      const headers: Record<string, string> = { ...user.tenant.headers, ...request.headers };
      if (request.body !== undefined) headers['content-type'] = 'application/json';
      if (authorized) headers['authorization'] = `Bearer ${user.accessToken}`;
      return await this.transport.send(from, { ...request, headers });
    } finally {
      this.inFlight--;
    }
  }

  private record(wanted: WantedCall, sentMs: number, answer: Answer, user: User): EndedCall {
    const outcome = wanted.request.keep === 'last line' ? outcomeOfStream(answer) : outcomeOf(answer);
    this.recorder.ended({
      kind: wanted.kind,
      plannedMs: wanted.plannedMs,
      sentMs,
      firstByteMs: answer.firstByteMs - this.originMs,
      endedMs: answer.endedMs - this.originMs,
      outcome,
    });
    this.interval.answered++;
    if (outcome.kind !== 'refused') {
      this.addresses.answered(wanted.from);
      user.refusalsInARow = 0;
      return { answer, outcome };
    }
    this.interval.refused++;
    if (blocksUser(outcome.blockedBy)) this.holdUser(user, outcome.retryAfterMs);
    else this.addresses.refused(wanted.from, this.now(), outcome.retryAfterMs);
    return { answer, outcome };
  }

  private holdUser(user: User, retryAfterMs: number): void {
    if (user.heldUntilMs > this.now()) return;
    user.refusalsInARow++;
    user.heldUntilMs = this.now() + backOffMs(this.plan.backOff, user.refusalsInARow, retryAfterMs, this.random());
  }
}

function tenantOf({ tenant }: User): { tenant?: string } {
  return tenant.name === 'default' ? {} : { tenant: tenant.name };
}

/** Whether another address would not help: the refusal counts against the user or what the user spends. */
function blocksUser(blockedBy: string): boolean {
  return blockedBy === 'user' || blockedBy === 'tenant' || blockedBy === 'budget';
}
