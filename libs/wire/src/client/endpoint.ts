/**
 * One address of a channel: its connections, and how far it can be trusted.
 *
 *   idle ──▶ connecting ──▶ up ──── failures in a row ──▶ ejected ── time ──▶ returning ──▶ up
 *                └── refused ──▶ down ── back-off ──▶ connecting …
 */
import { Allowance } from '../http2/allowance.js';
import type { Endings } from '../http2/endings.js';
import { Alarm } from '../timers/wheel.js';
import type { Address } from './address.js';
import { ClientConnection, type Complaint, type ConnectionOptions, type ConnectionOwner } from './connection.js';

export interface EndpointOptions {
  readonly connection: Omit<ConnectionOptions, 'resetsMax'>;
  readonly connectionsMax: number;
  readonly shrinkMs: number;
  readonly ejectAfter: number;
  readonly ejectMs: number;
  readonly ejectMsMax: number;
  readonly returnMs: number;
}

/** The channel, as an endpoint sees it. */
export interface EndpointOwner {
  /** A stream can be opened somewhere. */
  onCapacity(): void;
  /** A connection attempt failed or a connection was lost. */
  onTrouble(endpoint: Endpoint): void;
  /** The endpoint was removed and its last socket is closed. */
  onGone(endpoint: Endpoint): void;
  /** Only an address among several may be ejected. */
  mayEject(endpoint: Endpoint): boolean;
  readonly closing: boolean;
  /** Counts how streams and connections end. */
  readonly endings: Endings;
}

const BACKOFF_FIRST_MS = 100;
const BACKOFF_GROWTH = 1.6;
/** A peer that ends so many connections in a row so soon is not asked again at once. */
const SHORT_LIFE_MS = 1_000;
const SHORT_LIVES_MAX = 2;
/** After a further connection could not be made, none is tried for so long: the peer may take no more than it has. */
const GROW_PAUSE_MS = 1_000;
/** Streams of a connection whose peer has not said how many it takes: it should take 100 at least (RFC 9113 §6.5.2). */
const STREAMS_UNTIL_TOLD = 100;
/** The share of picks that an address gets when it begins to return. */
const RETURN_SHARE_FIRST = 0.1;

/** Connections that take no more streams and wait for their last, at most, before more are made to give way. */
const RETIRED_MAX = 32;
/** Fresh connections that take over from those that have sent many resets. */
const TAKEOVERS = { burst: 20, perSecond: 20 };
/**
 * RST_STREAM of one connection at once, below what any server we know takes for an attack: Netty ends a connection at 200 in
 * 30 s, this library's server at 500 and then 100 a second, Node's at 1000 and then 33 a second, Envoy when more than half of
 * 500 streams were reset. When a server complains nevertheless, its next connections get half, and so on.
 */
const RESETS_MAX = 150;
const RESETS_MIN = 10;

export class Endpoint implements ConnectionOwner {
  /** Those that take streams, or will when they are ready. */
  readonly connections: ClientConnection[] = [];
  /** Those that take no more, and close with the last stream that somebody waits for. */
  private readonly retired: ClientConnection[] = [];
  removed = false;
  /** Totals. */
  connects = 0;
  connectFailures = 0;
  resets = 0;
  retirements = 0;
  private bytesReadBefore = 0;
  private bytesWrittenBefore = 0;
  /** Why it cannot be reached; absent while it can, or nobody has tried. */
  trouble: string | undefined;

  private attemptsFailed = 0;
  private retryAt = 0;
  /** Connections in a row that were lost right after they had been made. */
  private shortLives = 0;
  private failuresInRow = 0;
  private ejections = 0;
  private ejectedUntil = 0;
  private returningSince = 0;
  private keepaliveMs: number;
  private resetsMax = RESETS_MAX;
  private readonly takeovers = new Allowance(TAKEOVERS);
  /** Sockets whose connection is over but which are not closed yet. */
  private socketsClosing = 0;
  private readonly reconnectAlarm = new Alarm(() => this.connect());
  private growAt = 0;
  private shrinking = false;
  /** All were full since the last look at what is idle. */
  private grew = false;
  private readonly shrinkAlarm = new Alarm(() => this.shrink());

  constructor(
    readonly address: Address,
    private readonly options: EndpointOptions,
    private readonly owner: EndpointOwner,
  ) {
    this.keepaliveMs = options.connection.keepaliveMs;
  }

  get endings(): Endings {
    return this.owner.endings;
  }

  /** Streams in flight. */
  get load(): number {
    let load = 0;
    for (const connection of this.connections) load += connection.load;
    for (const connection of this.retired) load += connection.load;
    return load;
  }

  get abandoned(): number {
    return this.all().reduce((sum, connection) => sum + connection.abandoned, 0);
  }

  /** Connections that are open, those included that take no more streams. */
  get openConnections(): number {
    let ready = 0;
    for (const connection of this.connections) if (connection.ready) ready++;
    return ready + this.retired.length;
  }

  get bytesRead(): number {
    return this.all().reduce((sum, connection) => sum + connection.bytesRead, this.bytesReadBefore);
  }

  get bytesWritten(): number {
    return this.all().reduce((sum, connection) => sum + connection.bytesWritten, this.bytesWrittenBefore);
  }

  private all(): ClientConnection[] {
    return [...this.connections, ...this.retired];
  }

  /** The connection with room that has the fewest streams. */
  best(): ClientConnection | undefined {
    const { connections } = this;
    let best: ClientConnection | undefined;
    for (let at = 0; at < connections.length; at++) {
      const connection = connections[at]!;
      if (connection.capacity > 0 && (best === undefined || connection.load < best.load)) best = connection;
    }
    return best;
  }

  /** Nothing is wrong and nothing was, lately: no need to look at the clock. */
  get settled(): boolean {
    return this.ejectedUntil === 0 && this.returningSince === 0;
  }

  ejected(now: number): boolean {
    return this.ejectedUntil > now;
  }

  /** Whether a pick may go here: never while ejected, seldom at first when returning. */
  admits(now: number): boolean {
    if (this.settled) return true;
    if (this.ejectedUntil > now) return false;
    if (this.ejectedUntil > 0) {
      this.returningSince = this.ejectedUntil;
      this.ejectedUntil = 0;
    }
    const share = (now - this.returningSince) / this.options.returnMs;
    if (share >= 1) {
      this.returningSince = 0;
      return true;
    }
    return Math.random() < Math.max(RETURN_SHARE_FIRST, share);
  }

  /** Nothing can be sent here until an attempt succeeds. */
  get down(): boolean {
    return this.attemptsFailed > 0 && !this.connections.some((connection) => connection.ready);
  }

  /** Milliseconds until the next attempt. */
  waitMs(now: number): number {
    return Math.max(0, this.retryAt - now);
  }

  /** Connects if there is no connection and no reason to wait. */
  wake(): void {
    if (this.connections.length === 0 && Date.now() >= this.retryAt) this.connect();
  }

  /** Streams that a connection takes. */
  private get streamsEach(): number {
    for (const { ready, draining, capacity, load } of this.connections) {
      if (ready && !draining) return Math.max(1, capacity + load);
    }
    return Math.min(this.options.connection.streamsMax, STREAMS_UNTIL_TOLD);
  }

  /** Streams that all its connections could carry. */
  get room(): number {
    return this.options.connectionsMax * this.streamsEach;
  }

  /** All are full and `needed` calls wait: adds connections for them, once the first has shown that the peer can be reached. */
  grow(needed: number): void {
    if (this.removed) return;
    if (this.connections.length === 0) return this.wake();
    let open = 0;
    let connecting = 0;
    for (const { ready } of this.connections) {
      open++;
      if (!ready) connecting++;
    }
    this.grew = true;
    if (connecting === open && open > 0) return;
    const each = this.streamsEach;
    while (open < this.options.connectionsMax && connecting * each < needed && Date.now() >= this.growAt) {
      this.connect();
      open++;
      connecting++;
    }
    if (open > 1 && !this.shrinking) this.shrinkLater();
  }

  private shrinkLater(): void {
    this.shrinking = true;
    this.grew = false;
    this.shrinkAlarm.setTimer(this.options.shrinkMs);
  }

  /** Lets go of the connection with the fewest streams when half of the others' room would do. */
  private shrink(): void {
    this.shrinking = false;
    const open = this.connections.filter(({ ready }) => ready);
    if (open.length < 2) return;
    if (!this.grew && this.load <= ((open.length - 1) * this.streamsEach) / 2) {
      const idlest = open.reduce((least, each) => (each.load < least.load ? each : least));
      this.retire(idlest);
      idlest.drain();
    }
    this.shrinkLater();
  }

  succeeded(): void {
    this.failuresInRow = 0;
    if (this.ejections > 0 && this.settled) this.ejections = 0;
  }

  /** A call failed in a way that speaks against this address. */
  failed(): void {
    if (++this.failuresInRow < this.options.ejectAfter) return;
    if (this.ejectedUntil > Date.now() || !this.owner.mayEject(this)) return;
    this.failuresInRow = 0;
    const length = Math.min(this.options.ejectMsMax, this.options.ejectMs * 2 ** this.ejections++);
    this.ejectedUntil = Date.now() + jitter(length);
    this.returningSince = 0;
  }

  /** Opens no more streams here; connections close as they become empty. */
  remove(): void {
    this.removed = true;
    this.reconnectAlarm.clearTimer();
    this.shrinkAlarm.clearTimer();
    for (const connection of this.all()) {
      if (connection.ready) connection.drain();
      else connection.lose('the address was removed');
    }
    this.reportGone();
  }

  /** Closes every connection now; their calls end with CANCELLED. */
  abandon(): void {
    for (const connection of this.all()) connection.lose('the channel was closed');
  }

  onReady(connection: ClientConnection): void {
    if (this.attemptsFailed > 0) {
      this.attemptsFailed = 0;
      this.retryAt = 0;
      this.trouble = undefined;
      this.returningSince = Date.now();
    }
    const worn = this.connections.find((other) => other.worn && other !== connection);
    if (worn !== undefined) {
      this.retirements++;
      this.retire(worn);
      worn.drain();
    }
    this.owner.onCapacity();
  }

  onCapacity(): void {
    this.owner.onCapacity();
  }

  onResetSent(): void {
    this.resets++;
  }

  onWorn(): void {
    if (this.removed || this.owner.closing || this.retired.length >= RETIRED_MAX) return;
    for (const connection of this.connections) if (!connection.ready) return;
    if (this.takeovers.take()) this.connect();
  }

  onDraining(connection: ClientConnection, complaint: Complaint | undefined): void {
    // gRPC's keepalive guide: a client that is told so asks half as often.
    if (complaint === 'pings') this.keepaliveMs *= 2;
    if (complaint === 'other') this.resetsMax = Math.max(RESETS_MIN, this.resetsMax / 2);
    if (!this.retire(connection) || this.removed) return;
    // A server may take so many calls of each connection; one that took none does not want us.
    this.replace(connection, 'the peer is going away', !connection.used && shortLived(connection));
  }

  /** @returns false when it takes no more streams already. */
  private retire(connection: ClientConnection): boolean {
    if (!take(this.connections, connection)) return false;
    this.retired.push(connection);
    return true;
  }

  /** A connection takes no more streams: makes another if none is left, at once unless they keep ending so soon. */
  private replace(connection: ClientConnection, reason: string, tooSoon: boolean): void {
    this.shortLives = tooSoon ? this.shortLives + 1 : 0;
    if (connection.ready && this.shortLives <= SHORT_LIVES_MAX) {
      if (this.connections.length === 0 && !this.owner.closing) this.connect();
    } else {
      this.connectFailures++;
      this.growAt = Date.now() + GROW_PAUSE_MS;
      this.backOff(`${this.address.key}: ${reason}`);
    }
  }

  onClosed(connection: ClientConnection, reason: string): void {
    const retired = take(this.retired, connection);
    take(this.connections, connection);
    this.bytesReadBefore += connection.bytesRead;
    this.bytesWrittenBefore += connection.bytesWritten;
    this.socketsClosing++;
    if (this.removed) return;
    if (!retired) this.replace(connection, reason, shortLived(connection));
    if (!connection.drained || !connection.ready) this.owner.onTrouble(this);
  }

  onSocketClosed(): void {
    this.socketsClosing--;
    if (this.removed) this.reportGone();
  }

  private reportGone(): void {
    if (this.connections.length + this.retired.length + this.socketsClosing === 0) this.owner.onGone(this);
  }

  private connect(): void {
    if (this.removed || this.owner.closing) return;
    this.reconnectAlarm.clearTimer();
    this.connects++;
    const options = {
      ...this.options.connection,
      keepaliveMs: this.keepaliveMs,
      resetsMax: this.resetsMax,
    };
    this.connections.push(new ClientConnection(this.address, options, this));
  }

  private backOff(reason: string): void {
    this.trouble = reason;
    const length = Math.min(this.options.ejectMsMax, BACKOFF_FIRST_MS * BACKOFF_GROWTH ** this.attemptsFailed++);
    const wait = jitter(length);
    this.retryAt = Date.now() + wait;
    if (this.connections.length === 0 && !this.owner.closing) this.reconnectAlarm.setTimer(wait);
  }
}

function shortLived(connection: ClientConnection): boolean {
  return Date.now() - connection.openedAt < SHORT_LIFE_MS;
}

function take(from: ClientConnection[], connection: ClientConnection): boolean {
  const at = from.indexOf(connection);
  if (at >= 0) from.splice(at, 1);
  return at >= 0;
}

/** ±20 %, so that many gateways do not come back at once. */
function jitter(ms: number): number {
  return ms * (0.8 + Math.random() * 0.4);
}
