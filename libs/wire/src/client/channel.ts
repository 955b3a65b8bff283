/** A channel: every address of a target, the calls in flight on their connections, and those that wait for a stream. */
import { isIP } from 'node:net';
import type { ConnectionOptions as TlsOptions } from 'node:tls';
import type { Fields } from '../fields.js';
import { failure } from '../grpc/outcome.js';
import { Status } from '../grpc/status.js';
import { Endings } from '../http2/endings.js';
import { parseTarget, type Address } from './address.js';
import { AdaptiveLimit } from './admission/adaptive-limit.js';
import { Admission, type Refusal } from './admission/admission.js';
import { FixedLimit, type Limiter, type SendingEnd } from './admission/limiter.js';
import type { Call, CallEvents, CallOptions, Outcome, Relay, RelayEvents, RelayOptions } from './call.js';
import {
  clientLimits,
  dropUndefined,
  withDefaults,
  type ChannelOptions,
  type ChannelState,
  type ChannelStats,
} from './channel-options.js';
import type { CallOwner, ClientCall } from './client-call.js';
import { Endpoint, type EndpointOptions, type EndpointOwner } from './endpoint.js';
import { GrpcCall } from './grpc-call.js';
import { metadataFault } from './metadata-rules.js';
import { EncodedMethod, type MethodHandle } from './method.js';
import { RelayCall } from './relay-call.js';
import { Resolver } from './resolver.js';
import { RetryBudget } from './retry-budget.js';
import { Alarm } from '../timers/wheel.js';

/** When another attempt is worthwhile at the earliest, in milliseconds; at random up to twice that, so that not all come back together. */
const RETRY_AFTER_FULL_MS = 1_000;
const RETRY_FIRST_MS = 20;
const RETRY_GROWTH = 4;

export class Channel implements CallOwner, EndpointOwner {
  readonly endings = new Endings();
  private readonly options: ReturnType<typeof withDefaults>;
  private readonly authority: string;
  private readonly secure: boolean;
  private readonly endpointOptions: EndpointOptions;
  private readonly resolver: Resolver;
  private readonly budget: RetryBudget;
  /** Calls that take a place: how many are in flight, and those that wait for one or for a connection with room. */
  private readonly admission: Admission<ClientCall>;
  /** Calls without a place of their own to wait for, which wait for a connection with room. */
  private readonly unlimited = new Set<ClientCall>();
  private draining = false;
  private readonly waiting = new Map<ClientCall, NodeJS.Timeout>();
  /** Addresses in use, and removed ones whose last streams are still running. */
  private endpoints: Endpoint[] = [];
  private readonly leaving = new Set<Endpoint>();
  private readonly expiry = new Alarm(() => this.watchQueue());
  private active = false;
  private readonly totals = { calls: 0, retries: 0, retriesRefused: 0, shed: 0 };
  private readonly gone = { connects: 0, connectFailures: 0, resets: 0, retired: 0, bytesRead: 0, bytesWritten: 0 };
  private closed: { promise: Promise<void>; resolve: () => void } | undefined;

  /**
   * Connects at the first call. `target` is `host:port`, `dns:///host:port`, `[ipv6]:port`, `unix:/path`, or several of
   * these separated by commas.
   * @throws TypeError when the target is none of these.
   */
  constructor(
    readonly target: string,
    options: ChannelOptions = {},
  ) {
    this.options = withDefaults(options);
    this.secure = options.tls !== undefined && options.tls !== false;
    this.resolver = new Resolver(target, this.options.resolveMs, (addresses) => this.onAddresses(addresses));
    this.authority = options.authority ?? defaultAuthority(target);
    this.budget = new RetryBudget(this.options.retryShare);
    this.admission = new Admission(limiterOf(this.options), this.options, (call, why) =>
      call.finish(this.refusal(why)),
    );
    this.endpointOptions = {
      ...this.options,
      connectionsMax: this.options.connectionsPerAddress,
      connection: {
        ...this.options,
        tls: this.secure ? tlsOptions(options) : undefined,
        streamsMax: this.options.maxStreamsPerConnection,
        limits: clientLimits(this.options),
      },
    };
  }

  /** Encodes the header fields of a method, such as `/sluice.user.v1.Users/Get`, once for all its calls. */
  method(path: string): MethodHandle {
    return EncodedMethod.of(path, this.authority, this.secure);
  }

  /**
   * A handle for calls that all have these metadata, which are encoded once, besides those that each brings.
   * @returns undefined when they must not travel; a call that brings them says why
   */
  methodWith(method: MethodHandle, metadata: Fields): MethodHandle | undefined {
    return metadataFault(metadata, false) === undefined ? (method as EncodedMethod).with(metadata) : undefined;
  }

  /** Starts a call of any kind; messages follow by `write`. */
  start(method: MethodHandle, metadata: Fields, options: CallOptions, events: CallEvents): Call {
    return this.call(method, metadata, undefined, options, events);
  }

  /** A call with one request message; HEADERS and DATA leave in one write. The response may be of any kind. */
  unary(method: MethodHandle, metadata: Fields, message: Uint8Array, options: CallOptions, events: CallEvents): Call {
    return this.call(method, metadata, message, options, events);
  }

  /** A stream relayed as it is. `fields` hold `content-type` and whatever of `grpc-encoding`, `grpc-accept-encoding` applies. */
  openStream(method: MethodHandle, fields: Fields, options: RelayOptions, events: RelayEvents): Relay {
    const call = new RelayCall(this, (method as EncodedMethod).relayHead, fields, options, events);
    this.launch(call, metadataFault(fields, true));
    return call;
  }

  get state(): ChannelState {
    if (this.closed !== undefined) return this.endpoints.length + this.leaving.size > 0 ? 'closing' : 'closed';
    if (!this.active) return 'idle';
    if (this.endpoints.some((endpoint) => endpoint.openConnections > 0)) return 'ready';
    return this.failing ? 'failing' : 'connecting';
  }

  get stats(): ChannelStats {
    const now = Date.now();
    const stats: ChannelStats = {
      addresses: this.endpoints.length,
      ejected: 0,
      connections: 0,
      streams: 0,
      abandoned: 0,
      inFlight: this.admission.inFlight,
      limit: this.admission.limiter.limit,
      latencyMs: this.admission.limiter.latency,
      unloadedMs: this.admission.limiter.unloaded,
      refused: this.admission.refused,
      waitedCalls: this.admission.waited.calls,
      waitedMs: this.admission.waited.ms,
      unansweredMs: this.admission.unansweredMs(now),
      heardAt: this.admission.heardAt,
      queued: this.queued + this.waiting.size,
      ...this.totals,
      ...this.gone,
    };
    for (const endpoint of this.endpoints) if (endpoint.down || endpoint.ejected(now)) stats.ejected++;
    for (const endpoint of [...this.endpoints, ...this.leaving]) {
      stats.connections += endpoint.openConnections;
      stats.streams += endpoint.load;
      stats.abandoned += endpoint.abandoned;
      addTotals(stats, endpoint);
    }
    return stats;
  }

  /** Streams that the connections can carry at once when all of them are open, as far as the addresses have said. */
  get room(): number {
    return this.endpoints.reduce((sum, endpoint) => sum + endpoint.room, 0) || this.options.maxStreamsPerConnection;
  }

  /** Refuses new calls, lets running ones finish for `graceMs`, then cancels them. Resolves when every socket is closed. */
  close(graceMs: number): Promise<void> {
    if (this.closed !== undefined) return this.closed.promise;
    this.closed = Promise.withResolvers<void>();
    this.draining = true;
    const timer = setTimeout(() => this.abandon(), graceMs);
    void this.closed.promise.then(() => clearTimeout(timer));
    this.finishClosing();
    return this.closed.promise;
  }

  // ---- calls ----------------------------------------------------------------------------------------------------------

  private call(
    method: MethodHandle,
    metadata: Fields,
    message: Uint8Array | undefined,
    options: CallOptions,
    events: CallEvents,
  ): GrpcCall {
    const head = (method as EncodedMethod).callHead;
    const call = new GrpcCall(this, head, metadata, options, this.options.maxMessageBytes, message, events);
    this.launch(call, metadata.length === 0 ? undefined : metadataFault(metadata, false));
    return call;
  }

  private launch(call: ClientCall, fault: string | undefined): void {
    this.totals.calls++;
    if (fault !== undefined) return call.finishLater(failure(Status.INTERNAL, fault, true));
    if (this.draining) return call.finishLater(failure(Status.UNAVAILABLE, 'the channel is closed', true));
    if (call.deadline !== undefined) {
      const left = call.deadline - Date.now();
      if (left <= 0) return call.finishLater(failure(Status.DEADLINE_EXCEEDED, 'the deadline has passed', true));
      call.setTimer(left);
    }
    this.dispatch(call);
  }

  /** Sends a call now, or lets it wait, or refuses it. */
  private dispatch(call: ClientCall): void {
    const open = call.unlimited ? this.unlimited.size === 0 : this.admission.open;
    if (open) {
      const endpoint = this.pick(call.endpoint);
      if (endpoint !== undefined) return this.send(call, endpoint);
    }
    if (this.failing) return call.finishLater(this.unreachable());
    const refused = this.enqueue(call);
    if (refused !== undefined) call.finishLater(this.refusal(refused));
    else if (this.admission.waiting.busy.size > 1) this.onCapacity();
    if (!this.active) this.activate();
    else if (call.unlimited || !this.admission.full) this.grow();
  }

  private send(call: ClientCall, endpoint: Endpoint): void {
    // What is refused on this side pays for no retry.
    if (call.attempts === 0) this.budget.deposit();
    if (!call.unlimited) this.admission.sent(call, Date.now());
    call.begin(endpoint.best()!, endpoint);
  }

  private enqueue(call: ClientCall): Refusal | undefined {
    if (!call.unlimited) {
      if (!this.expiry.isSet) this.expiry.setTimer(0);
      return this.admission.wait(call, Date.now());
    }
    if (this.unlimited.size >= this.options.maxQueued) return 'queue_full';
    this.unlimited.add(call);
    return undefined;
  }

  /** Nothing may end for a long time, and those who wait wait no longer than they may. */
  private watchQueue(): void {
    const now = Date.now();
    const reachable = this.endpoints.some((endpoint) => endpoint.openConnections > 0);
    // To wait for a connection is not to wait for others' calls.
    if (!reachable) this.admission.reachable(now);
    else this.admission.expire(now);
    if (reachable) this.onCapacity();
    const ms = this.admission.expiresIn(now);
    if (ms !== undefined) this.expiry.setTimer(ms);
  }

  private refusal(why: Refusal): Outcome {
    this.totals.shed++;
    const retryAfterMs = RETRY_AFTER_FULL_MS * (1 + Math.random());
    return { ...failure(Status.UNAVAILABLE, REFUSALS[why], true), overloaded: true, retryAfterMs };
  }

  private get queued(): number {
    return this.unlimited.size + this.admission.waiting.size;
  }

  /** There is no room for calls that could be sent: as many connections more as they need. */
  private grow(): void {
    const needed = Math.ceil(this.queued / Math.max(1, this.endpoints.length));
    for (const endpoint of this.endpoints) endpoint.grow(needed);
  }

  /** Of two addresses with room, taken at random, the one with fewer streams; not where the call has just failed, if possible. */
  private pick(avoid: Endpoint | undefined): Endpoint | undefined {
    const { endpoints } = this;
    if (endpoints.length === 1) return endpoints[0]!.best() === undefined ? undefined : endpoints[0];
    const now = endpoints.every((endpoint) => endpoint.settled) ? 0 : Date.now();
    let usable = endpoints.filter((endpoint) => endpoint.best() !== undefined);
    if (usable.length > 1 && avoid !== undefined) usable = usable.filter((endpoint) => endpoint !== avoid);
    const admitted = now === 0 ? usable : usable.filter((endpoint) => endpoint.admits(now));
    // When every address is ejected, ejection has lost its meaning.
    const from = admitted.length > 0 ? admitted : usable;
    if (from.length < 2) return from[0];
    const first = Math.floor(Math.random() * from.length);
    const second = (first + 1 + Math.floor(Math.random() * (from.length - 1))) % from.length;
    return from[first]!.load <= from[second]!.load ? from[first] : from[second];
  }

  leaveQueue(call: ClientCall): void {
    if (!this.unlimited.delete(call)) this.admission.left(call, Date.now());
    const timer = this.waiting.get(call);
    if (timer === undefined) return;
    clearTimeout(timer);
    this.waiting.delete(call);
  }

  giveBack(call: ClientCall, outcome: Outcome): void {
    const now = Date.now();
    const end = endOf(outcome);
    this.admission.gaveBack(call, now, end);
    if (end === 'answered' || outcome.trailers.length > 0) this.admission.heard(now);
    if (this.admission.waiting.size > 0) this.onCapacity();
  }

  retry(call: ClientCall, outcome: Outcome): boolean {
    if (!outcome.unprocessed && !(call.idempotent && outcome.code === Status.UNAVAILABLE)) return false;
    if (call.attempts >= this.options.maxAttempts || this.closed !== undefined) return false;
    // The first certain refusal costs nothing (gRFC A6, transparent retries): the upstream has not worked for the call yet.
    const free = outcome.unprocessed && call.attempts === 1;
    if (!free && !this.budget.withdraw()) {
      this.totals.retriesRefused++;
      return false;
    }
    this.totals.retries++;
    // What was certainly not processed goes elsewhere at once, the first time; everything else waits a little.
    const wait = free ? 0 : RETRY_FIRST_MS * RETRY_GROWTH ** (call.attempts - 1) * (0.5 + Math.random());
    const timer = setTimeout(() => {
      this.waiting.delete(call);
      this.dispatch(call);
    }, wait);
    this.waiting.set(call, timer);
    return true;
  }

  sendElsewhere(call: ClientCall): void {
    if (call.sentAt !== 0) this.admission.gaveBack(call, Date.now(), 'lost');
    if (this.closed === undefined) this.dispatch(call);
    else call.finish(failure(Status.UNAVAILABLE, 'the channel was closed', true));
  }

  // ---- addresses --------------------------------------------------------------------------------------------------------

  private activate(): void {
    this.active = true;
    this.resolver.resolve();
  }

  private onAddresses(addresses: readonly Address[]): void {
    if (this.closed !== undefined) return;
    const wanted = new Set(addresses.map((address) => address.key));
    const known = new Set(this.endpoints.map((endpoint) => endpoint.address.key));
    const removed = this.endpoints.filter((endpoint) => !wanted.has(endpoint.address.key));
    this.endpoints = this.endpoints.filter((endpoint) => wanted.has(endpoint.address.key));
    for (const address of addresses) {
      if (!known.has(address.key)) this.endpoints.push(new Endpoint(address, this.endpointOptions, this));
    }
    for (const endpoint of removed) {
      this.leaving.add(endpoint);
      endpoint.remove();
    }
    for (const endpoint of this.endpoints) endpoint.wake();
    if (this.failing) this.failQueue();
  }

  onCapacity(): void {
    while (this.queued > 0) {
      if (this.pick(undefined) === undefined) return this.grow();
      const call = this.next();
      if (call === undefined) break;
      this.send(call, this.pick(call.endpoint)!);
    }
    if (this.draining) this.finishClosing();
  }

  private next(): ClientCall | undefined {
    for (const call of this.unlimited) {
      this.unlimited.delete(call);
      return call;
    }
    return this.admission.next(Date.now());
  }

  onTrouble(): void {
    this.resolver.soon();
    if (this.failing) this.failQueue();
  }

  onGone(endpoint: Endpoint): void {
    if (this.leaving.delete(endpoint)) addTotals(this.gone, endpoint);
    if (this.draining) this.finishClosing();
  }

  mayEject(endpoint: Endpoint): boolean {
    const now = Date.now();
    return this.endpoints.some((other) => other !== endpoint && !other.down && !other.ejected(now));
  }

  get closing(): boolean {
    return this.closed !== undefined;
  }

  /** Nothing can be reached: waiting is of no use. */
  private get failing(): boolean {
    if (this.endpoints.length === 0) return this.resolver.trouble !== undefined;
    return this.endpoints.every((endpoint) => endpoint.down);
  }

  private unreachable(): Outcome {
    const now = Date.now();
    const trouble = this.resolver.trouble ?? this.endpoints.find((endpoint) => endpoint.trouble !== undefined)?.trouble;
    const waits = this.endpoints.map((endpoint) => endpoint.waitMs(now));
    return {
      ...failure(Status.UNAVAILABLE, `no address can be reached: ${trouble ?? 'unknown'}`, true),
      retryAfterMs: Math.min(...waits, RETRY_AFTER_FULL_MS),
    };
  }

  private failQueue(): void {
    const outcome = this.unreachable();
    for (const call of [...this.unlimited, ...this.admission.waiting]) call.finish(outcome);
  }

  // ---- closing ----------------------------------------------------------------------------------------------------------

  /** Lets go of the addresses once nothing waits; their connections close as their streams end. */
  private finishClosing(): void {
    if (this.queued + this.waiting.size > 0 && this.endpoints.length > 0) return;
    this.resolver.stop();
    const { endpoints } = this;
    this.endpoints = [];
    this.expiry.clearTimer();
    for (const endpoint of endpoints) this.leaving.add(endpoint);
    for (const endpoint of endpoints) endpoint.remove();
    if (this.leaving.size === 0) this.closed?.resolve();
  }

  private abandon(): void {
    const outcome = failure(Status.CANCELLED, 'the channel was closed');
    for (const call of [...this.unlimited, ...this.admission.waiting, ...this.waiting.keys()]) call.finish(outcome);
    this.finishClosing();
    for (const endpoint of [...this.leaving]) endpoint.abandon();
  }
}

const REFUSALS: Readonly<Record<Refusal, string>> = {
  queue_full: 'too many calls are waiting for the upstream',
  queue_wait: 'the call has waited for the upstream as long as it may',
  deadline: 'the call has less time left than calls to the upstream take at present',
};

function limiterOf({ concurrency, maxConcurrent }: ReturnType<typeof withDefaults>): Limiter {
  return concurrency === 'adaptive' ? new AdaptiveLimit({ max: maxConcurrent }) : new FixedLimit(maxConcurrent);
}

/** Codes of faults, which come at any speed, and of callers who left: neither says what an answer takes. */
const SAYS_NOTHING: ReadonlySet<number> = new Set([
  Status.CANCELLED,
  Status.UNKNOWN,
  Status.UNIMPLEMENTED,
  Status.INTERNAL,
  Status.UNAVAILABLE,
  Status.DATA_LOSS,
]);

function endOf({ code, unprocessed }: Outcome): SendingEnd {
  if (unprocessed) return 'lost';
  if (code === Status.OK) return 'answered';
  if (code === Status.DEADLINE_EXCEEDED) return 'late';
  return SAYS_NOTHING.has(code) ? 'lost' : 'answered';
}

function addTotals(
  to: Pick<ChannelStats, 'connects' | 'connectFailures' | 'resets' | 'retired' | 'bytesRead' | 'bytesWritten'>,
  from: Endpoint,
): void {
  to.connects += from.connects;
  to.connectFailures += from.connectFailures;
  to.resets += from.resets;
  to.retired += from.retirements;
  to.bytesRead += from.bytesRead;
  to.bytesWritten += from.bytesWritten;
}

function defaultAuthority(target: string): string {
  const { path, key } = parseTarget(target)[0]!;
  return path === undefined ? key : 'localhost';
}

/** What was given; a name of the server's only if it was, or the authority, which is one. */
function tlsOptions({ tls, authority }: ChannelOptions): TlsOptions {
  const host = authority?.replace(/:\d+$/, '');
  const named = host === undefined || isIP(host.replace(/^\[|\]$/g, '')) > 0 ? {} : { servername: host };
  return typeof tls === 'object' ? { ...named, ...dropUndefined(tls) } : named;
}
