import type { AddressPool, ClientAddress } from './address-pool.js';
import type { LoadPlan } from './plan.js';
import { backOffMs } from './rate-controller.js';
import { outcomeOf, outcomeOfStream, parse, type Outcome } from './outcome.js';
import type { CallKind, Recorder } from './recorder.js';
import { isField, type Request, RequestHead } from './request.js';
import type { Answer, Transport } from './transport.js';
import type { User } from './users.js';

/** A call that has ended. */
export interface EndedCall {
  readonly answer: Answer;
  readonly outcome: Outcome;
}

/** Told of a call that has ended. */
export type OnEnded = (answer: Answer, outcome: Outcome) => void;

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
  asUser(user: User, wanted: WantedCall, ended: OnEnded): void {
    this.recorder.planned(wanted.kind);
    const nowMs = this.now();
    if (user.expiresAtMs > nowMs) this.attempt(user, wanted, nowMs, ended);
    else void this.refresh(user, wanted.from).then(() => this.attempt(user, wanted, this.now(), ended));
  }

  /** As {@link asUser}, for calls that are few. */
  ended(user: User, wanted: WantedCall): Promise<EndedCall> {
    return new Promise((resolve) => {
      this.asUser(user, wanted, (answer, outcome) => resolve({ answer, outcome }));
    });
  }

  private attempt(user: User, wanted: WantedCall, sentMs: number, ended: OnEnded): void {
    const used = user.accessToken;
    this.recorder.sent(wanted.kind, wanted.plannedMs, sentMs);
    this.exchange(wanted, user.fields, (answer) => {
      if (answer.status === 401) this.again(user, wanted, sentMs, used, answer, ended);
      else ended(answer, this.record(wanted, sentMs, answer, user));
    });
  }

  /** The token is not taken any more: fetches another one, unless that was done meanwhile, and sends the call once more. */
  private again(user: User, wanted: WantedCall, sentMs: number, used: string, refusal: Answer, ended: OnEnded): void {
    const finish = (answer: Answer) => ended(answer, this.record(wanted, sentMs, answer, user));
    const refreshed = user.accessToken === used ? this.refresh(user, wanted.from) : Promise.resolve(true);
    void refreshed.then((fresh) => (fresh ? this.exchange(wanted, user.fields, finish) : finish(refusal)));
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
      head: new RequestHead('POST', call.path),
      body: JSON.stringify(call.body),
      keep: 'all',
    };
    const wanted = { ...call, from, request };
    const answer = await new Promise<Answer>((resolve) => this.exchange(wanted, user.tenantFields, resolve));
    const outcome = this.record(wanted, sentMs, answer, user);
    const body = parse(answer.body);
    const token = body['access_token'];
    if (outcome.kind === 'ok' && isField('authorization', token)) {
      user.accessToken = String(token);
      user.fields = `authorization: Bearer ${user.accessToken}\r\n${user.tenantFields}`;
      if (typeof body['refresh_token'] === 'string') user.refreshToken = body['refresh_token'];
      const seconds = typeof body['expires_in'] === 'number' ? body['expires_in'] : Number.POSITIVE_INFINITY;
      user.expiresAtMs = this.now() + seconds * 1000;
    }
    return { answer, outcome };
  }

  private exchange({ from, request }: WantedCall, fields: string, ended: (answer: Answer) => void): void {
    this.inFlight++;
    this.transport.send(from, request, fields, (answer) => {
      this.inFlight--;
      ended(answer);
    });
  }

  private record(wanted: WantedCall, sentMs: number, answer: Answer, user: User): Outcome {
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
    // A time-out or a reset: whoever comes back at once from there makes it worse.
    if (answer.status === 0) {
      this.addresses.refused(wanted.from, this.now(), 0);
      return outcome;
    }
    if (outcome.kind !== 'refused') {
      this.addresses.answered(wanted.from);
      user.refusalsInARow = 0;
      return outcome;
    }
    this.interval.refused++;
    if (blocksUser(outcome.blockedBy)) this.holdUser(user, outcome.retryAfterMs);
    else this.addresses.refused(wanted.from, this.now(), outcome.retryAfterMs);
    return outcome;
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
