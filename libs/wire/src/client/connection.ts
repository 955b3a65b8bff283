/** The client's end of one HTTP/2 connection: it opens streams, and reads responses (RFC 9113 §§3, 5.1.1, 6.8, 8.3.2). */
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import type { Field, Fields } from '../fields.js';
import type { SessionLimits } from '../http2/bounds.js';
import { ConnectionError, ErrorCode, StreamError } from '../http2/errors.js';
import { FrameReceiver } from '../http2/frame-receiver.js';
import { PREFACE } from '../http2/frames.js';
import type { HeaderBlock } from '../http2/header-block.js';
import { Stream, type StreamHandler } from '../http2/stream.js';
import { mayReceive } from '../http2/stream-state.js';
import { MESSAGE_PREFIX_OCTETS, writeMessagePrefix } from '../grpc/message-reader.js';
import { reading, readFrom } from '../sockets/read.js';
import type { OctetsTaker } from '../sockets/turn.js';
import { Alarm } from '../timers/wheel.js';
import type { Address } from './address.js';

export interface ConnectionOptions {
  readonly tls: object | undefined;
  readonly streamsMax: number;
  readonly connectTimeoutMs: number;
  readonly keepaliveMs: number;
  readonly keepaliveTimeoutMs: number;
  /** Open no stream before the peer has sent its SETTINGS: attempts before this one have failed. */
  readonly cautious?: boolean;
  readonly limits: SessionLimits;
}

/** Who keeps a connection; told of everything that changes what it can take. */
export interface ConnectionOwner {
  onReady(connection: ClientConnection): void;
  /** A stream has ended or the peer allows more: another may be opened. */
  onCapacity(connection: ClientConnection): void;
  /** The peer says goodbye; streams in flight go on. */
  onDraining(connection: ClientConnection, tooManyPings: boolean): void;
  /** The socket is closed. `ready`: it had been usable before. */
  onClosed(connection: ClientConnection, reason: string, ready: boolean): void;
  /** After `onClosed`: the socket itself is gone. */
  onSocketClosed(): void;
}

/** The largest id of a stream (RFC 9113 §5.1.1). */
const STREAM_ID_MAX = 2 ** 31 - 1;
/** Streams opened at most before the peer has said how many it takes: it should take 100 at least (RFC 9113 §6.5.2). */
const STREAMS_BEFORE_SETTINGS_MAX = 100;
/** How long a socket may take to say what is left when it is being closed. */
const LINGER_MS = 1_000;

export class ClientConnection extends FrameReceiver {
  /** The socket is connected: streams may be opened. */
  ready = false;
  /** The peer has sent its SETTINGS: it speaks HTTP/2. */
  established = false;
  /** It was closed with nothing left to do. */
  drained = false;
  /** When it was begun, as `Date.now()` counts. */
  readonly openedAt = Date.now();
  /** Reads so far; tells whether anything has arrived since. */
  received = 0;
  private nextId = 1;
  private receivedAtLastCheck = 0;
  private pinged = false;
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

  /** Streams that can be opened now. */
  get capacity(): number {
    if (!this.ready || this.draining || (this.options.cautious && !this.established)) return 0;
    const most = this.established ? this.peer.maxConcurrentStreams : STREAMS_BEFORE_SETTINGS_MAX;
    return Math.min(this.options.streamsMax, most) - this.streams.size;
  }

  get bytesRead(): number {
    return this.socket.bytesRead;
  }

  get bytesWritten(): number {
    return this.socket.bytesWritten;
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

  /** A stream that `open` will open. The caller has looked at `capacity`. */
  newStream(handler: StreamHandler): Stream {
    const id = this.nextId;
    this.nextId += 2;
    if (this.nextId > STREAM_ID_MAX) this.draining = true;
    return new Stream(id, this, handler, this.peer.initialWindowSize, this.bounds.limits.streamWindowBytes);
  }

  /** Something is overdue: asks the peer for a sign of life, unless one is already awaited. */
  suspect(): void {
    if (this.ready && !this.closed) this.ping();
  }

  /** Opens nothing more and closes when the last stream has ended. */
  drain(): void {
    if (this.closed) return;
    this.draining = true;
    if (this.streams.size === 0) this.finish('the connection was drained');
  }

  private onConnected(): void {
    const alpn = (this.socket as TLSSocket).alpnProtocol;
    if (this.options.tls !== undefined && alpn !== 'h2') return this.lose('the peer does not speak h2 (ALPN)');
    this.ready = true;
    this.openAlarm.setTimer(this.options.connectTimeoutMs);
    this.outbox.push(PREFACE);
    this.sendPreface({
      headerTableSize: 0,
      enablePush: false,
      initialWindowSize: this.bounds.limits.streamWindowBytes,
      maxHeaderListSize: this.bounds.limits.headerListBytes,
    });
    if (this.options.keepaliveMs > 0) this.keepaliveAlarm.setTimer(this.options.keepaliveMs);
    this.owner.onReady(this);
  }

  private checkAlive(): void {
    this.keepaliveAlarm.setTimer(this.options.keepaliveMs);
    if (this.received === this.receivedAtLastCheck && this.streams.size > 0) this.ping();
    this.receivedAtLastCheck = this.received;
  }

  private ping(): void {
    if (this.pinged) return;
    this.pinged = true;
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
    this.established = true;
    this.openAlarm.clearTimer();
    this.owner.onCapacity(this);
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
    this.owner.onDraining(this, code === ErrorCode.ENHANCE_YOUR_CALM && text === 'too_many_pings');
    if (this.streams.size === 0) this.finish('the peer is going away');
  }

  protected override onStreamClosed(): void {
    if (this.closed) return;
    if (!this.draining) this.owner.onCapacity(this);
    else if (this.streams.size === 0) this.finish('the connection was drained');
  }

  protected override onClosed(reason: string): void {
    this.openAlarm.clearTimer();
    this.keepaliveAlarm.clearTimer();
    this.pingAlarm.clearTimer();
    this.lingerAlarm.setTimer(LINGER_MS);
    if (this.socket.destroyed) this.lingerAlarm.clearTimer();
    this.owner.onClosed(this, reason, this.ready);
  }

  /** The connection ended in good order: GOAWAY, and the socket is closed. */
  private finish(reason: string): void {
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

function dial(address: Address, tls: object | undefined, take: OctetsTaker): Socket {
  const where = address.path === undefined ? { host: address.host, port: address.port } : { path: address.path };
  if (tls === undefined) return connectTcp({ ...where, onread: reading(take) }).resume();
  const socket = connectTls({ ALPNProtocols: ['h2'], minVersion: 'TLSv1.2', ...tls, ...where });
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
