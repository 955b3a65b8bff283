import type { AddressPool, ClientAddress } from './address-pool.js';
import type { LoadPlan } from './plan.js';
import { backOffMs } from './rate-controller.js';
import { outcomeOf, outcomeOfStream, parse, type Outcome } from './outcome.js';
import type { CallKind, Recorder } from './recorder.js';
import { type Answer, isField, type Request, type Transport } from './transport.js';
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

  /** A call of a user who has a token. Calls back instead of promising: it is the path of every call. */
  asUser(user: User, wanted: WantedCall, ended: (call: EndedCall) => void): void {
    this.recorder.planned(wanted.kind);
    if (user.expiresAtMs > this.now()) this.attempt(user, wanted, ended);
    else void this.refresh(user, wanted.from).then(() => this.attempt(user, wanted, ended));
  }

  /** As {@link asUser}, for calls that are few. */
  ended(user: User, wanted: WantedCall): Promise<EndedCall> {
    return new Promise((resolve) => this.asUser(user, wanted, resolve));
  }

  private attempt(user: User, wanted: WantedCall, ended: (call: EndedCall) => void): void {
    const used = user.accessToken;
    const sentMs = this.now();
    this.recorder.sent(wanted.kind, wanted.plannedMs, sentMs);
    const finish = (answer: Answer) => ended(this.record(wanted, sentMs, answer, user));
    this.exchange(user, wanted, (answer) => {
      if (answer.status !== 401) return finish(answer);
      const refreshed = user.accessToken === used ? this.refresh(user, wanted.from) : Promise.resolve(true);
      void refreshed.then((again) => (again ? this.exchange(user, wanted, finish) : finish(answer)));
    });
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
    const request: Request = { method: 'POST', path: call.path, body: JSON.stringify(call.body), keep: 'all' };
    const wanted = { ...call, from, request };
    const answer = await new Promise<Answer>((resolve) => this.exchange(user, wanted, resolve, false));
    const ended = this.record(wanted, sentMs, answer, user);
    const body = parse(answer.body);
    const token = body['access_token'];
    if (ended.outcome.kind === 'ok' && isField('authorization', token)) {
      user.accessToken = String(token);
      user.fields = `authorization: Bearer ${user.accessToken}\r\n${user.tenantFields}`;
      if (typeof body['refresh_token'] === 'string') user.refreshToken = body['refresh_token'];
      const seconds = typeof body['expires_in'] === 'number' ? body['expires_in'] : Number.POSITIVE_INFINITY;
      user.expiresAtMs = this.now() + seconds * 1000;
    }
    return ended;
  }

  private exchange(
    user: User,
    { from, request }: WantedCall,
    ended: (answer: Answer) => void,
    authorized = true,
  ): void {
    this.inFlight++;
    this.transport.send(from, request, authorized ? user.fields : user.tenantFields, (answer) => {
      this.inFlight--;
      ended(answer);
    });
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
