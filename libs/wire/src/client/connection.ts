/** The client's end of one HTTP/2 connection: it opens streams, and reads responses (RFC 9113 §§3, 5.1.1, 6.8, 8.3.2). */
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions as TlsOptions, type TLSSocket } from 'node:tls';
import type { Field, Fields } from '../fields.js';
import { Decoder } from '../hpack/decoder.js';
import type { SessionLimits } from '../http2/bounds.js';
import type { Endings } from '../http2/endings.js';
import { ConnectionError, ErrorCode, StreamError } from '../http2/errors.js';
import { FrameReceiver } from '../http2/frame-receiver.js';
import { PREFACE } from '../http2/frames.js';
import type { HeaderBlock } from '../http2/header-block.js';
import { Stream, type StreamHandler } from '../http2/stream.js';
import { mayReceive } from '../http2/stream-state.js';
import { MESSAGE_PREFIX_OCTETS, writeMessagePrefix } from '../grpc/message-reader.js';
import { reading, readFrom } from '../sockets/read.js';
import type { OctetsTaker } from '../sockets/turn.js';
import { type PagePool, widePages } from '../sockets/page-pool.js';
import { Alarm } from '../timers/wheel.js';
import type { Address } from './address.js';
import { Cancellations } from './cancellations.js';

export interface ConnectionOptions {
  /** A `servername` is that of the address if it is none of these. */
  readonly tls: TlsOptions | undefined;
  readonly streamsMax: number;
  readonly connectTimeoutMs: number;
  readonly keepaliveMs: number;
  readonly keepaliveTimeoutMs: number;
  readonly limits: SessionLimits;
  /** RST_STREAM that may be sent at once; `Cancellations` says how many more in time. */
  readonly resetsMax: number;
}

/** Who keeps a connection; told of everything that changes what it can take. */
export interface ConnectionOwner {
  /** Counts how streams and connections end. */
  readonly endings: Endings;
  onReady(connection: ClientConnection): void;
  /** RST_STREAM was sent. */
  onResetSent(): void;
  /** It has sent so many RST_STREAM that a fresh connection should take over. */
  onWorn(): void;
  /** A stream has ended or the peer allows more: another may be opened. */
  onCapacity(connection: ClientConnection): void;
  /** The peer says goodbye; streams in flight go on. */
  onDraining(connection: ClientConnection, complaint: Complaint | undefined): void;
  /** The socket is closed. */
  onClosed(connection: ClientConnection, reason: string): void;
  /** After `onClosed`: the socket itself is gone. */
  onSocketClosed(): void;
}

/** What a peer that asks for calm (ENHANCE_YOUR_CALM) has had enough of. */
export type Complaint = 'pings' | 'other';

/** A call whose stream opens at the end of the turn. */
export interface Opening {
  readonly ended: boolean;
  /** The stream may be opened now. */
  open(): void;
  /** The connection takes no more streams: nothing was sent. */
  unsent(): void;
}

/** RFC 9113 §6.5.2. */
const LIST_OCTETS_PER_FIELD = 32;
/** What `grpc-timeout` takes at most. */
const EXTRA_FIELD_OCTETS = 12 + 9 + LIST_OCTETS_PER_FIELD;
/** The largest id of a stream (RFC 9113 §5.1.1). */
const STREAM_ID_MAX = 2 ** 31 - 1;
/**
 * gRPC's servers end a connection at the third PING that comes too soon, which is within five minutes of the one before it
 * unless something was answered in between (gRFC A8).
 */
const PINGS_IN_SILENCE_MAX = 2;
const PING_PAUSE_MS = 310_000;
/** How long a socket may take to say what is left when it is being closed. */
const LINGER_MS = 1_000;

export class ClientConnection extends FrameReceiver {
  /**
   * The peer has sent its SETTINGS: it speaks HTTP/2, and how many streams it takes is known. Nothing is opened before, as
   * a peer that takes fewer refuses the rest.
   */
  ready = false;
  /** It was closed with nothing left to do. */
  drained = false;
  /** When it was begun, as `Date.now()` counts. */
  readonly openedAt = Date.now();
  /** Reads so far; tells whether anything has arrived since. */
  received = 0;
  private readonly cancellations: Cancellations;
  private readonly opening: Opening[] = [];
  /** How many of them have been dealt with. */
  private opened = 0;
  private nextId = 1;
  private receivedAtLastCheck = 0;
  private pinged = false;
  /** PINGs since the last response began, and when the last one left, as `Date.now()` counts. */
  private pingsInSilence = 0;
  private pingedAt = 0;
  private readonly openAlarm = new Alarm(() => this.lose('no connection within the time for it'));
  private readonly keepaliveAlarm = new Alarm(() => this.checkAlive());
  private readonly pingAlarm = new Alarm(() => this.lose('a PING was not answered in time'));
  private readonly lingerAlarm = new Alarm(() => this.socket.destroy());

  constructor(
    readonly address: Address,
    private readonly options: ConnectionOptions,
    private readonly owner: ConnectionOwner,
  ) {
    // A socket is told who reads it when it is made, before there is a `this`.
    let take: OctetsTaker = () => undefined;
    super(
      dial(address, options.tls, (octets) => take(octets)),
      options.limits,
      true,
    );
    take = (octets) => {
      this.received++;
      this.receive(octets);
    };
    this.cancellations = new Cancellations(options.resetsMax, () => owner.onWorn());
    const { socket } = this;
    this.peer.enablePush = false;
    socket.setNoDelay(true);
    socket.on(options.tls === undefined ? 'connect' : 'secureConnect', () => this.onConnected());
    socket.on('error', (error: NodeJS.ErrnoException) => this.lose(error.code ?? error.message));
    socket.on('end', () => this.lose('the peer closed the connection'));
    socket.on('close', () => {
      this.lingerAlarm.clearTimer();
      this.lose('the connection was closed');
      this.owner.onSocketClosed();
    });
    this.openAlarm.setTimer(options.connectTimeoutMs);
  }

  protected override get endings(): Endings {
    return this.owner.endings;
  }

  protected override get pages(): PagePool {
    return widePages;
  }

  /** Streams that can be opened now. */
  get capacity(): number {
    if (!this.ready || this.draining) return 0;
    return Math.min(this.options.streamsMax, this.peer.maxConcurrentStreams) - this.load;
  }

  /** A stream was opened. */
  get used(): boolean {
    return this.nextId > 1;
  }

  /** Streams that are open, or about to be. */
  get load(): number {
    return this.streams.size + this.opening.length - this.opened;
  }

  /** Streams that nobody waits for, and which are still open. */
  get abandoned(): number {
    return this.cancellations.abandoned;
  }

  /** A fresh connection should take over: this one may soon not reset streams any more. */
  get worn(): boolean {
    return this.cancellations.worn;
  }

  get bytesRead(): number {
    return this.socket.bytesRead;
  }

  get bytesWritten(): number {
    return this.socket.bytesWritten;
  }

  /**
   * Opens the call's stream at the end of the turn: a call that is cancelled until then never reaches the peer. The caller
   * has looked at `capacity`.
   */
  openAtEnd(call: Opening): void {
    this.opening.push(call);
    this.outbox.touch();
  }

  protected override beforeFlush(): void {
    const { opening } = this;
    while (this.opened < opening.length) {
      const call = opening[this.opened++]!;
      if (call.ended) this.owner.onCapacity(this);
      else if (this.draining) call.unsent();
      else call.open();
    }
    opening.length = this.opened = 0;
  }

  /** Nobody waits for the stream any more. `expired`: its deadline has passed, which the peer knows by itself. */
  release(stream: Stream, expired: boolean): void {
    if (stream.closed) stream.reset(ErrorCode.CANCEL);
    else this.cancellations.cancel(stream, expired);
    if (this.draining && this.abandoned > 0) this.finishIfIdle('the connection was drained');
  }

  override sendReset(streamId: number, code: number): void {
    super.sendReset(streamId, code);
    this.owner.onResetSent();
  }

  /**
   * Opens a stream: a header block of an encoded head, one more field and the metadata. A `message`, if it fits the
   * windows, follows at once as the only one; otherwise the caller writes it. @returns whether it was written.
   */
  open(
    stream: Stream,
    head: Uint8Array,
    extra: Field | undefined,
    fields: Fields,
    message: Uint8Array | undefined,
  ): boolean {
    this.streams.add(stream);
    this.sendFields(stream.id, head, fields, false, extra);
    if (message === undefined) return false;
    writeMessagePrefix(prefix, 0, message.length, false);
    return stream.writeNow(prefix, message, true);
  }

  /**
   * Whether the peer takes a header list of this size (RFC 9113 §6.5.2): a larger one may cost the connection, and with it
   * everybody's calls, at Netty from 8 KB on.
   */
  takes(head: Uint8Array, fields: Fields): boolean {
    const most = this.peer.maxHeaderListSize;
    if (most === Infinity) return true;
    let octets = head.length + EXTRA_FIELD_OCTETS;
    for (const [name, value] of fields) octets += name.length + value.length + LIST_OCTETS_PER_FIELD;
    // Encoded, a list has at least a quarter of its size, unless it is very small.
    if (octets * 4 <= most) return true;
    return octets - head.length + new Decoder().decode(head, 0, head.length, [], Infinity) <= most;
  }

  /** A stream that `open` will open. */
  newStream(handler: StreamHandler): Stream {
    const id = this.nextId;
    this.nextId += 2;
    if (this.nextId > STREAM_ID_MAX) this.draining = true;
    return new Stream(id, this, handler, this.peer.initialWindowSize, this.bounds.limits.streamWindowBytes);
  }

  /** Something is overdue: asks the peer for a sign of life, unless one is already awaited. */
  suspect(): void {
    if (!this.ready || this.closed) return;
    if (this.pingsInSilence < PINGS_IN_SILENCE_MAX || Date.now() - this.pingedAt > PING_PAUSE_MS) this.ping();
  }

  /** Opens nothing more and closes when the last stream that somebody waits for has ended. */
  drain(): void {
    if (this.closed) return;
    this.beforeFlush();
    this.draining = true;
    this.finishIfIdle('the connection was drained');
  }

  private onConnected(): void {
    const alpn = (this.socket as TLSSocket).alpnProtocol;
    if (this.options.tls !== undefined && alpn !== 'h2') return this.lose('the peer does not speak h2 (ALPN)');
    this.openAlarm.setTimer(this.options.connectTimeoutMs);
    this.outbox.push(PREFACE);
    this.sendPreface({
      headerTableSize: 0,
      enablePush: false,
      initialWindowSize: this.bounds.limits.streamWindowBytes,
      maxHeaderListSize: this.bounds.limits.headerListBytes,
    });
    if (this.options.keepaliveMs > 0) this.keepaliveAlarm.setTimer(this.options.keepaliveMs);
  }

  private checkAlive(): void {
    this.keepaliveAlarm.setTimer(this.options.keepaliveMs);
    if (this.received === this.receivedAtLastCheck && this.streams.size > 0) this.ping();
    this.receivedAtLastCheck = this.received;
  }

  private ping(): void {
    if (this.pinged) return;
    this.pinged = true;
    this.pingsInSilence++;
    this.pingedAt = Date.now();
    this.sendPing();
    this.pingAlarm.setTimer(this.options.keepaliveTimeoutMs);
  }

  protected override onPeerReset(): void {
    this.bounds.count('resets');
  }

  protected override onPingAck(): void {
    this.pinged = false;
    this.pingAlarm.clearTimer();
  }

  protected override onSettings(): void {
    // The peer's SETTINGS are its preface: the connection is established (RFC 9113 §3.4).
    if (this.peer.enablePush)
      throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'SETTINGS_ENABLE_PUSH of 1 from a server');
    if (this.ready) return this.owner.onCapacity(this);
    this.ready = true;
    this.openAlarm.clearTimer();
    this.owner.onReady(this);
  }

  protected override isIdle(streamId: number): boolean {
    return streamId % 2 === 0 || streamId >= this.nextId;
  }

  protected override lastPeerStreamId(): number {
    return 0;
  }

  protected override onHeaderBlock(streamId: number, block: HeaderBlock, endStream: boolean): void {
    const stream = this.streams.get(streamId);
    if (stream === undefined) return this.onMissingStream(streamId, 'HEADERS');
    this.pingsInSilence = 0;
    if (!mayReceive(stream.state)) throw new StreamError(ErrorCode.STREAM_CLOSED, 'HEADERS after END_STREAM');
    if (block.tooLarge) throw new StreamError(ErrorCode.ENHANCE_YOUR_CALM, 'a header list above the limit');
    if (block.fault !== undefined) throw new StreamError(ErrorCode.PROTOCOL_ERROR, block.fault);
    if (stream.headReceived) {
      if (block.pseudo.length > 0) throw new StreamError(ErrorCode.PROTOCOL_ERROR, 'a pseudo-field in trailers');
      if (!endStream) throw new StreamError(ErrorCode.PROTOCOL_ERROR, 'trailers without END_STREAM');
      if (stream.bodyExpected > 0)
        throw new StreamError(ErrorCode.PROTOCOL_ERROR, 'a body shorter than content-length');
      return this.endReceived(stream, block);
    }
    const status = statusOf(block);
    if (status < 200) {
      if (endStream || status === 101)
        throw new StreamError(ErrorCode.PROTOCOL_ERROR, 'an interim response that cannot be one');
      // §8.1: read and passed over, though not without end.
      return this.bounds.count('idleFrames');
    }
    stream.headReceived = true;
    if (!endStream) stream.bodyExpected = block.bodyLength;
    stream.handler.onHead(block, endStream);
    if (endStream && !stream.closed) this.endReceived(stream, undefined);
  }

  protected override onGoaway(lastStreamId: number, code: number, debug: Buffer): void {
    this.draining = true;
    const text = debug.toString('latin1', 0, GOAWAY_TEXT_MAX).replace(/[^ -~]/g, '.');
    for (const stream of this.streams.all()) {
      if (stream.id <= lastStreamId) continue;
      stream.abort({
        code: ErrorCode.REFUSED_STREAM,
        message: `the peer is going away${text === '' ? '' : `: ${text}`}`,
        byPeer: false,
        lost: true,
        unprocessed: true,
      });
    }
    const pings = text === 'too_many_pings' ? 'pings' : 'other';
    this.owner.onDraining(this, code === ErrorCode.ENHANCE_YOUR_CALM ? pings : undefined);
    this.finishIfIdle('the peer is going away');
  }

  protected override onStreamClosed(stream: Stream): void {
    if (stream.abandoned) this.cancellations.ended();
    if (this.closed) return;
    if (!this.draining) this.owner.onCapacity(this);
    else this.finishIfIdle('the connection was drained');
  }

  protected override onClosed(reason: string): void {
    this.cancellations.stop();
    this.openAlarm.clearTimer();
    this.keepaliveAlarm.clearTimer();
    this.pingAlarm.clearTimer();
    this.lingerAlarm.setTimer(LINGER_MS);
    if (this.socket.destroyed) this.lingerAlarm.clearTimer();
    this.owner.onClosed(this, reason);
    for (const call of this.opening.splice(this.opened)) if (!call.ended) call.unsent();
  }

  /**
   * No more streams are opened, and nobody waits for those that are left: GOAWAY, and the socket is closed. That cancels
   * what was abandoned.
   */
  private finishIfIdle(reason: string): void {
    if (this.closed || this.streams.size > this.abandoned) return;
    this.drained = true;
    this.fail(ErrorCode.NO_ERROR, reason);
  }

  /** The connection is of no use any more. */
  lose(reason: string): void {
    if (this.closed) return;
    this.close(reason);
    this.socket.destroy();
  }
}

/** Written anew for every message. */
const prefix = new Uint8Array(MESSAGE_PREFIX_OCTETS);
const GOAWAY_TEXT_MAX = 200;

function dial(address: Address, tls: TlsOptions | undefined, take: OctetsTaker): Socket {
  const where = address.path === undefined ? { host: address.host, port: address.port } : { path: address.path };
  if (tls === undefined) return connectTcp({ ...where, onread: reading(take) }).resume();
  // RFC 6066 §3: SNI is for names; without one the certificate is checked against the IP address.
  const named = isIP(address.name) > 0 ? {} : { servername: address.name };
  const socket = connectTls({ ALPNProtocols: ['h2'], minVersion: 'TLSv1.2', ...named, ...tls, ...where });
  readFrom(socket, take);
  return socket;
}

/** §8.3.2: exactly one pseudo-field, `:status`, of three digits. */
function statusOf(block: HeaderBlock): number {
  const field = block.pseudo[0];
  if (block.pseudo.length !== 1 || field![0] !== ':status' || !/^[1-5]\d\d$/.test(field![1])) {
    throw new StreamError(ErrorCode.PROTOCOL_ERROR, 'a response without exactly one legal :status');
  }
  return Number(field![1]);
}
