/**
 * One HTTP/2 connection, for either role (RFC 9113 §§3–6): frames in order, header blocks, settings, both flow controls,
 * and the bounds on what a peer may make us do. A role adds what opens a stream and what a header section means.
 */
import type { Socket } from 'node:net';
import { CompressionError } from '../hpack/compression-error.js';
import { Allowance, type Rate } from './allowance.js';
import { ConnectionError, ErrorCode, StreamError } from './errors.js';
import { INITIAL_WINDOW, ReceiveWindow } from './flow-control.js';
import {
  Flag,
  FRAME_HEADER_OCTETS,
  FrameReader,
  FrameType,
  INITIAL_MAX_FRAME_SIZE,
  readUint31,
  readUint32,
  writeFrameHeader,
  type FrameSink,
} from './frames.js';
import { FrameSender } from './frame-sender.js';
import { HeaderAssembly } from './header-assembly.js';
import { HeaderBlockReader, type HeaderBlock } from './header-block.js';
import { applySettings, encodeSettings, SETTING_OCTETS, type Settings } from './settings.js';
import { connectionLost, type Stream } from './stream.js';
import { mayReceive } from './stream-state.js';

/** What a peer may make this side do and hold. */
export interface SessionLimits {
  /** Our SETTINGS_MAX_HEADER_LIST_SIZE, in octets as RFC 9113 §6.5.2 counts. */
  readonly headerListBytes: number;
  /** Octets of one encoded header block, over all its frames. */
  readonly headerBlockBytes: number;
  readonly streamWindowBytes: number;
  readonly connectionWindowBytes: number;
  /** Octets not taken by the socket after which a peer that keeps asking is dropped. */
  readonly heldBytes: number;
  readonly resets: Rate;
  /** RST_STREAM that the peer makes us send. */
  readonly errors: Rate;
  readonly pings: Rate;
  readonly settings: Rate;
  readonly emptyData: Rate;
  readonly windowUpdates: Rate;
  /** PRIORITY, unknown types, and frames for streams that are gone. */
  readonly idleFrames: Rate;
}

/** The bounds that end a connection. */
type RatedFlood = 'resets' | 'errors' | 'pings' | 'settings' | 'emptyData' | 'windowUpdates' | 'idleFrames';
export type Flood = RatedFlood | 'continuations' | 'unreadAnswers';

export abstract class Session extends FrameSender implements FrameSink {
  readonly streams = new Map<number, Stream>();
  /** No further streams are opened: GOAWAY was sent or received, or the connection is gone. */
  draining = false;

  private readonly receiveWindow: ReceiveWindow;
  private readonly reader: FrameReader;
  private readonly blocks: HeaderBlockReader;
  private readonly allowances = new Map<RatedFlood, Allowance>();
  private readonly ended = new Int32Array(RECENT_STREAMS);
  private endedAt = 0;
  /** Made with the first reset: most connections have none. */
  private reset: Int32Array | undefined;
  private resetAt = 0;
  private assembly: HeaderAssembly | undefined;
  /** The peer's first SETTINGS have arrived. */
  protected prefaceSeen = false;
  protected framesReceived = 0;
  /** When the header block being assembled was begun; 0 when there is none. */
  protected assemblyStartedAt = 0;
  private settingsUnacknowledged = 0;

  constructor(
    socket: Socket,
    protected readonly limits: SessionLimits,
    /** Credit for the whole connection is given back on arrival (a stalled stream stalls no other), or when data is used. */
    private readonly creditOnArrival: boolean,
  ) {
    super(socket);
    this.reader = new FrameReader(this, INITIAL_MAX_FRAME_SIZE);
    this.blocks = new HeaderBlockReader(limits.headerListBytes);
    this.receiveWindow = new ReceiveWindow(limits.connectionWindowBytes);
  }

  /** A header section has arrived for a stream that exists or that this role may now open. */
  protected abstract onHeaderBlock(streamId: number, block: HeaderBlock, endStream: boolean): void;
  /** Whether a stream id has never been used (RFC 9113 §5.1.1). */
  protected abstract isIdle(streamId: number): boolean;
  /** GOAWAY has arrived. */
  protected abstract onGoaway(lastStreamId: number, code: number, debug: Buffer): void;
  /** The peer's settings have changed. */
  protected abstract onSettings(): void;
  protected abstract onPingAck(): void;
  /** A stream is gone from the table. */
  protected abstract onStreamClosed(stream: Stream): void;
  /** The connection is over: every stream has been ended. */
  protected abstract onClosed(reason: string): void;
  /** The highest stream id of the peer that we processed, for GOAWAY. */
  protected abstract lastPeerStreamId(): number;
  /** The peer has reset a stream. */
  protected onClientReset(): void {}
  /** END_STREAM has left on a stream. */
  onEndSent(_stream: Stream): void {}
  protected override onDataSent(): void {
    // Data is answered by WINDOW_UPDATEs, and by PINGs of peers that measure the path.
    this.allowances.get('windowUpdates')?.earn(4);
    this.allowances.get('pings')?.earn(1);
  }

  /** A bound was exceeded; the connection ends. */
  protected onFlood(_flood: Flood): void {}

  // ---- receiving ----------------------------------------------------------------------------------------------------

  /** Takes what the socket read. */
  receive(chunk: Buffer): void {
    if (this.closed) return;
    try {
      this.reader.push(chunk);
    } catch (error) {
      if (error instanceof ConnectionError) this.fail(error.code, error.message);
      else if (error instanceof CompressionError) this.fail(ErrorCode.COMPRESSION_ERROR, error.message);
      else {
        this.fail(ErrorCode.INTERNAL_ERROR, 'an error of this side');
        throw error;
      }
    }
  }

  onFrame(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): boolean {
    if (this.assembly !== undefined && (type !== FrameType.CONTINUATION || streamId !== this.assembly.streamId)) {
      throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'a frame between HEADERS and its CONTINUATION');
    }
    this.framesReceived++;
    if (!this.prefaceSeen) {
      if (type !== FrameType.SETTINGS || (flags & Flag.ACK) !== 0) {
        throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'the first frame is not SETTINGS');
      }
      this.prefaceSeen = true;
    }
    try {
      this.dispatch(type, flags, streamId, bytes, start, end);
    } catch (error) {
      if (!(error instanceof StreamError)) throw error;
      this.failStream(streamId, error.code, error.message);
    }
    return !this.closed;
  }

  private dispatch(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    switch (type) {
      case FrameType.DATA:
        return this.onData(flags, streamId, bytes, start, end);
      case FrameType.HEADERS:
        return this.onHeaders(flags, streamId, bytes, start, end);
      case FrameType.PRIORITY:
        requireStream(streamId);
        if (end - start !== 5) throw new StreamError(ErrorCode.FRAME_SIZE_ERROR, 'PRIORITY is not 5 octets');
        if (readUint31(bytes, start) === streamId) throw new StreamError(ErrorCode.PROTOCOL_ERROR, DEPENDS_ON_ITSELF);
        return this.allow('idleFrames');
      case FrameType.RST_STREAM:
        return this.onReset(streamId, bytes, start, end);
      case FrameType.SETTINGS:
        return this.onSettingsFrame(flags, streamId, bytes, start, end);
      case FrameType.PUSH_PROMISE:
        throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'PUSH_PROMISE, which is never allowed here');
      case FrameType.PING:
        return this.onPing(flags, streamId, bytes, start, end);
      case FrameType.GOAWAY:
        requireConnection(streamId);
        if (end - start < 8) throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, 'GOAWAY is shorter than 8 octets');
        this.allow('idleFrames');
        return this.onGoaway(readUint31(bytes, start), readUint32(bytes, start + 4), bytes.subarray(start + 8, end));
      case FrameType.WINDOW_UPDATE:
        return this.onWindowUpdate(streamId, bytes, start, end);
      case FrameType.CONTINUATION:
        return this.onContinuation(flags, bytes, start, end);
      default:
        // §5.5: unknown types are ignored, though not without end.
        return this.allow('idleFrames');
    }
  }

  private onData(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    requireStream(streamId);
    const octets = end - start;
    if (!this.receiveWindow.take(octets)) {
      throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, 'DATA beyond the window of the connection');
    }
    if ((flags & Flag.PADDED) !== 0) {
      const padding = paddingOf(bytes, start, end);
      start++;
      end -= padding;
    }
    const endStream = (flags & Flag.END_STREAM) !== 0;
    if (start === end && !endStream) this.allow('emptyData');
    const stream = this.streams.get(streamId);
    if (this.creditOnArrival || stream === undefined) this.consumedNow(octets);
    if (stream === undefined) return this.onMissingStream(streamId, 'DATA');
    if (!mayReceive(stream.state)) throw new StreamError(ErrorCode.STREAM_CLOSED, 'DATA after END_STREAM');
    if (!stream.headReceived) throw new StreamError(ErrorCode.PROTOCOL_ERROR, 'DATA before HEADERS');
    if (!stream.receiveWindow.take(octets)) {
      throw new StreamError(ErrorCode.FLOW_CONTROL_ERROR, 'DATA beyond the window of the stream');
    }
    if (octets > end - start) this.consumed(stream, octets - (end - start));
    if (stream.bodyExpected >= 0) {
      stream.bodyExpected -= end - start;
      if (stream.bodyExpected < 0 || (endStream && stream.bodyExpected > 0))
        throw new StreamError(ErrorCode.PROTOCOL_ERROR, BODY_LENGTH);
    }
    if (end > start) stream.receive(bytes.subarray(start, end));
    if (endStream && !stream.closed) this.endReceived(stream, undefined);
  }

  private onHeaders(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    requireStream(streamId);
    if ((flags & Flag.PADDED) !== 0) {
      end -= paddingOf(bytes, start, end);
      start++;
    }
    let dependsOnItself = false;
    if ((flags & Flag.PRIORITY) !== 0) {
      if (end - start < 5) throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, 'HEADERS too short for its priority');
      dependsOnItself = readUint31(bytes, start) === streamId;
      start += 5;
    }
    const endStream = (flags & Flag.END_STREAM) !== 0;
    if ((flags & Flag.END_HEADERS) === 0) {
      this.assembly = new HeaderAssembly(streamId, endStream, this.limits.headerBlockBytes, () =>
        this.onFlood('continuations'),
      );
      this.assemblyStartedAt = Date.now();
      this.assembly.add(bytes.subarray(start, end));
      return;
    }
    const block = this.blocks.read(bytes, start, end);
    if (dependsOnItself) throw new StreamError(ErrorCode.PROTOCOL_ERROR, DEPENDS_ON_ITSELF);
    this.onHeaderBlock(streamId, block, endStream);
  }

  private onContinuation(flags: number, bytes: Buffer, start: number, end: number): void {
    const assembly = this.assembly;
    if (assembly === undefined) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'CONTINUATION without HEADERS');
    assembly.continue(bytes.subarray(start, end));
    if ((flags & Flag.END_HEADERS) === 0) return;
    this.assembly = undefined;
    this.assemblyStartedAt = 0;
    const whole = assembly.whole();
    this.onHeaderBlock(assembly.streamId, this.blocks.read(whole, 0, whole.length), assembly.endStream);
  }

  private onReset(streamId: number, bytes: Buffer, start: number, end: number): void {
    requireStream(streamId);
    if (end - start !== 4) throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, 'RST_STREAM is not 4 octets');
    if (this.isIdle(streamId)) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'RST_STREAM on an idle stream');
    this.allow('resets');
    const stream = this.streams.get(streamId);
    if (stream === undefined) return;
    this.onClientReset();
    this.remember(streamId);
    const code = readUint32(bytes, start);
    stream.abort({
      code,
      message: 'the peer reset the stream',
      byPeer: true,
      lost: false,
      unprocessed: code === ErrorCode.REFUSED_STREAM,
    });
  }

  private onSettingsFrame(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    requireConnection(streamId);
    if ((flags & Flag.ACK) !== 0) {
      if (end !== start) throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, 'SETTINGS with ACK is not empty');
      if (this.settingsUnacknowledged === 0) this.allow('idleFrames');
      else if (--this.settingsUnacknowledged === 0) this.blocks.acknowledge();
      return;
    }
    if ((end - start) % SETTING_OCTETS !== 0) {
      throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, 'SETTINGS is not a multiple of 6 octets');
    }
    this.allow('settings');
    const before = this.peer.initialWindowSize;
    applySettings(this.peer, bytes, start, end);
    this.writeFrame(0, FrameType.SETTINGS, Flag.ACK, 0);
    const difference = this.peer.initialWindowSize - before;
    if (difference !== 0) {
      for (const stream of this.streams.values()) {
        if (!stream.sendWindow.widen(difference))
          throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, WINDOW_TOO_LARGE);
        if (difference > 0 && stream.queuedOctets > 0) this.schedule(stream);
      }
      this.pump();
    }
    this.onSettings();
  }

  private onPing(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    requireConnection(streamId);
    if (end - start !== 8) throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, 'PING is not 8 octets');
    if ((flags & Flag.ACK) !== 0) {
      this.allow('idleFrames');
      return this.onPingAck();
    }
    this.allow('pings');
    const page = this.outbox.reserve(FRAME_HEADER_OCTETS + 8);
    const at = writeFrameHeader(page, this.outbox.offset, 8, FrameType.PING, Flag.ACK, 0);
    page.set(bytes.subarray(start, end), at);
    this.outbox.wrote(at + 8);
    this.boundHeld();
  }

  private onWindowUpdate(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (end - start !== 4) throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, 'WINDOW_UPDATE is not 4 octets');
    const increment = readUint31(bytes, start);
    this.allow('windowUpdates');
    if (streamId === 0) {
      if (increment === 0) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'WINDOW_UPDATE of 0');
      if (!this.sendWindow.widen(increment)) throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, WINDOW_TOO_LARGE);
      return this.pump();
    }
    if (this.isIdle(streamId)) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'WINDOW_UPDATE on an idle stream');
    if (increment === 0) throw new StreamError(ErrorCode.PROTOCOL_ERROR, 'WINDOW_UPDATE of 0');
    const stream = this.streams.get(streamId);
    if (stream === undefined) return;
    if (!stream.sendWindow.widen(increment)) throw new StreamError(ErrorCode.FLOW_CONTROL_ERROR, WINDOW_TOO_LARGE);
    if (stream.queuedOctets > 0) {
      this.schedule(stream);
      this.pump();
    }
  }

  /** §5.1: a frame for a stream that is not in the table. */
  protected onMissingStream(streamId: number, what: string): void {
    if (this.isIdle(streamId)) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, `${what} on an idle stream`);
    if (this.ended.includes(streamId))
      throw new ConnectionError(ErrorCode.STREAM_CLOSED, `${what} on a stream the peer ended`);
    // We have just reset it, perhaps because its answer was complete: the peer did not know when it sent this.
    if (this.wasReset(streamId)) return;
    this.allow('idleFrames');
  }

  private wasReset(streamId: number): boolean {
    return this.reset?.includes(streamId) === true;
  }

  /** Whether the stream existed, as far as is remembered: we reset it, or the peer ended it. */
  protected existed(streamId: number): boolean {
    return this.wasReset(streamId) || this.ended.includes(streamId);
  }

  /** A 1xx response: read and passed over (§8.1), though not without end. */
  protected onInterimResponse(): void {
    this.allow('idleFrames');
  }

  /** END_STREAM from the peer. */
  protected endReceived(stream: Stream, trailers: HeaderBlock | undefined): void {
    this.remember(stream.id);
    stream.receiveEnd(trailers);
  }

  private remember(streamId: number): void {
    this.ended[this.endedAt] = streamId;
    this.endedAt = (this.endedAt + 1) % RECENT_STREAMS;
  }

  /** Counts an event against its bound. */
  protected allow(flood: RatedFlood): void {
    let allowance = this.allowances.get(flood);
    if (allowance === undefined) this.allowances.set(flood, (allowance = new Allowance(this.limits[flood])));
    if (allowance.take()) return;
    this.onFlood(flood);
    throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, `too many frames of one kind: ${flood}`);
  }

  /** A peer that makes us answer and does not read is dropped. */
  private boundHeld(): void {
    if (this.outbox.held <= this.limits.heldBytes) return;
    this.onFlood('unreadAnswers');
    throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, 'answers are not read');
  }

  /** A stream's data has left our memory; its window and, unless done on arrival, the connection's are refilled. */
  consumed(stream: Stream, octets: number): void {
    const increment = stream.receiveWindow.release(octets);
    if (increment > 0) this.sendWindowUpdate(stream.id, increment);
    if (!this.creditOnArrival) this.consumedNow(octets);
  }

  /** As `consumed`, for a stream whose own window no longer matters. */
  consumedLast(octets: number): void {
    if (!this.creditOnArrival) this.consumedNow(octets);
  }

  private consumedNow(octets: number): void {
    const increment = this.receiveWindow.release(octets);
    if (increment > 0) this.sendWindowUpdate(0, increment);
  }

  // ---- sending ------------------------------------------------------------------------------------------------------

  /** Our SETTINGS and the connection's window. A client's preface goes before. */
  protected sendPreface(ours: Partial<Settings>): void {
    const settings = encodeSettings(ours);
    this.writeFrame(settings.length, FrameType.SETTINGS, 0, 0);
    this.outbox.push(settings);
    this.settingsUnacknowledged++;
    const more = this.limits.connectionWindowBytes - INITIAL_WINDOW;
    if (more > 0) this.sendWindowUpdate(0, more);
  }

  /** Lets go of remembered header blocks. */
  protected forgetBlocks(): void {
    this.blocks.forget();
  }

  /** Octets of a frame that is not whole yet. */
  protected get partialOctets(): number {
    return this.reader.keptBytes;
  }

  /** Whether our SETTINGS are still unanswered. */
  get settingsPending(): boolean {
    return this.settingsUnacknowledged > 0;
  }

  sendReset(streamId: number, code: number): void {
    this.reset ??= new Int32Array(RECENT_RESETS);
    this.reset[this.resetAt] = streamId;
    this.resetAt = (this.resetAt + 1) % RECENT_RESETS;
    this.writeFrameWithNumber(FrameType.RST_STREAM, streamId, code);
  }

  // ---- ending -------------------------------------------------------------------------------------------------------

  /** A stream is over. */
  forget(stream: Stream): void {
    if (this.streams.get(stream.id) !== stream) return;
    this.streams.delete(stream.id);
    this.onStreamClosed(stream);
  }

  /** §5.4.2: the peer's fault ends a stream. One that does not exist cannot be reset, so the connection is. */
  private failStream(streamId: number, code: number, message: string): void {
    if (this.isIdle(streamId)) throw new ConnectionError(code, message);
    this.allow('errors');
    this.endStream(streamId, code, message);
    this.boundHeld();
  }

  /** RST_STREAM, and the handler hears of it. */
  protected endStream(streamId: number, code: number, message: string): void {
    this.sendReset(streamId, code);
    this.streams.get(streamId)?.abort({ code, message, byPeer: false, lost: false, unprocessed: false });
  }

  /** §5.4.1: GOAWAY with the reason, then the connection is closed. */
  protected fail(code: number, message: string): void {
    if (this.closed) return;
    this.sendGoaway(code, message, this.lastPeerStreamId());
    this.outbox.flush();
    // What the peer still sends is read and dropped for a while: closing at once could cost it our GOAWAY.
    this.socket.end();
    this.close(message);
  }

  /** Ends every stream and lets go of the socket. */
  close(reason: string): void {
    if (this.closed) return;
    this.closed = this.draining = true;
    this.dropWriters();
    for (const stream of [...this.streams.values()])
      stream.abort(connectionLost(reason, this.neverReachedPeer(stream)));
    this.onClosed(reason);
  }

  /** Whether a stream that ends with the connection certainly was not processed. */
  protected neverReachedPeer(_stream: Stream): boolean {
    return false;
  }
}

/** How many streams that the peer ended are remembered, to tell late frames of its own from broken ones (§5.1). */
const RECENT_STREAMS = 64;
/** How many streams that we reset are remembered: the peer may have sent more before it knew. */
const RECENT_RESETS = 1_024;
const DEPENDS_ON_ITSELF = 'the stream depends on itself';
const WINDOW_TOO_LARGE = 'a window above 2^31-1';
const BODY_LENGTH = 'the body does not have the length that content-length gave';

function requireStream(streamId: number): void {
  if (streamId === 0) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'a frame of a stream on stream 0');
}

function requireConnection(streamId: number): void {
  if (streamId !== 0) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'a frame of the connection on a stream');
}

/** §6.1: octets of padding, with its length field counted by the caller. */
function paddingOf(bytes: Uint8Array, start: number, end: number): number {
  const padding = start < end ? bytes[start]! : 0;
  if (start >= end) throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, 'a padded frame without its padding length');
  if (padding >= end - start) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'more padding than payload');
  return padding;
}
