/**
 * What the frames of a connection mean, for either role (RFC 9113 §§3.4, 4.3, 6): header blocks, settings, windows, and which
 * errors end a stream and which the connection. A role adds what opens a stream and what a header section means.
 */
import type { Socket } from 'node:net';
import { CompressionError } from '../hpack/compression-error.js';
import type { MemoryAccount } from '../memory/account.js';
import type { SessionLimits } from './bounds.js';
import { countCode } from './endings.js';
import { ConnectionError, ErrorCode, StreamError } from './errors.js';
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
import { paddingOf, requireLayout } from './frame-layout.js';
import { HeaderAssembly } from './header-assembly.js';
import { HeaderBlockReader, type HeaderBlock } from './header-block.js';
import { Session } from './session.js';
import { applySettings } from './settings.js';
import type { Stream } from './stream.js';
import { mayReceive, maySend } from './stream-state.js';

export abstract class FrameReceiver extends Session implements FrameSink {
  protected readonly reader = new FrameReader(this, INITIAL_MAX_FRAME_SIZE);
  protected readonly blocks: HeaderBlockReader;
  /** The header block being assembled. */
  protected assembly: HeaderAssembly | undefined;
  /** The peer's first SETTINGS have arrived. */
  protected prefaceSeen = false;
  protected framesReceived = 0;

  constructor(socket: Socket, limits: SessionLimits, creditOnArrival: boolean, account?: MemoryAccount) {
    super(socket, limits, creditOnArrival, account);
    this.blocks = new HeaderBlockReader(limits.headerListBytes);
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
  /** The peer's SETTINGS are acknowledged as soon as the turn ends. */
  protected onSettingsAcknowledged(): void {}
  /** The peer resets a stream. */
  protected abstract onPeerReset(stream: Stream): void;

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
    requireLayout(type, flags, streamId, end - start);
    switch (type) {
      case FrameType.DATA:
        return this.onData(flags, streamId, bytes, start, end);
      case FrameType.HEADERS:
        return this.onHeaders(flags, streamId, bytes, start, end);
      case FrameType.PRIORITY:
        if (readUint31(bytes, start) === streamId) throw new StreamError(ErrorCode.PROTOCOL_ERROR, DEPENDS_ON_ITSELF);
        return this.bounds.count('idleFrames');
      case FrameType.RST_STREAM:
        return this.onReset(streamId, readUint32(bytes, start));
      case FrameType.SETTINGS:
        return this.onSettingsFrame(flags, bytes, start, end);
      case FrameType.PUSH_PROMISE:
        throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'PUSH_PROMISE, which is never allowed here');
      case FrameType.PING:
        return this.onPing(flags, bytes, start, end);
      case FrameType.GOAWAY:
        this.bounds.count('idleFrames');
        countCode(this.endings.goawaysReceived, readUint32(bytes, start + 4));
        return this.onGoaway(readUint31(bytes, start), readUint32(bytes, start + 4), bytes.subarray(start + 8, end));
      case FrameType.WINDOW_UPDATE:
        return this.onWindowUpdate(streamId, readUint31(bytes, start));
      case FrameType.CONTINUATION:
        return this.onContinuation(flags, bytes, start, end);
      default:
        // §5.5: unknown types are ignored, though not without end.
        return this.bounds.count('idleFrames');
    }
  }

  private onData(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    const octets = end - start;
    if (!this.receiveWindow.take(octets)) {
      this.onFlood('windowOverruns');
      throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, 'DATA beyond the window of the connection');
    }
    if ((flags & Flag.PADDED) !== 0) {
      const padding = paddingOf(bytes, start, end);
      start++;
      end -= padding;
    }
    const endStream = (flags & Flag.END_STREAM) !== 0;
    if (start === end && !endStream) this.bounds.count('emptyData');
    const stream = this.streams.get(streamId);
    if (this.creditOnArrival || stream === undefined) this.consumedNow(octets);
    if (stream === undefined) return this.onMissingStream(streamId, 'DATA');
    const fault = dataFault(stream, octets, end - start, endStream);
    if (fault !== undefined) {
      // The stream ends, the connection goes on: its window gets back what the frame took.
      this.consumedLast(octets);
      if (fault.code === ErrorCode.FLOW_CONTROL_ERROR) this.onFlood('windowOverruns');
      throw fault;
    }
    if (octets > end - start) this.consumed(stream, octets - (end - start));
    if (end > start) stream.receive(bytes.subarray(start, end));
    if (endStream && !stream.closed) this.endReceived(stream, undefined);
  }

  private onHeaders(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
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
      this.assembly = new HeaderAssembly(streamId, endStream, dependsOnItself, this.bounds);
      this.assembly.add(bytes.subarray(start, end));
      return;
    }
    this.onWholeBlock(streamId, bytes, start, end, dependsOnItself, endStream);
  }

  private onContinuation(flags: number, bytes: Buffer, start: number, end: number): void {
    const assembly = this.assembly;
    if (assembly === undefined) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'CONTINUATION without HEADERS');
    assembly.continue(bytes.subarray(start, end));
    if ((flags & Flag.END_HEADERS) === 0) return;
    this.assembly = undefined;
    const whole = assembly.whole();
    const { streamId, endStream, dependsOnItself } = assembly;
    this.onWholeBlock(streamId, whole, 0, whole.length, dependsOnItself, endStream);
  }

  private onWholeBlock(
    streamId: number,
    bytes: Buffer,
    start: number,
    end: number,
    dependsOnItself: boolean,
    endStream: boolean,
  ): void {
    // §4.3: decoded whatever becomes of it, for the table's sake.
    const block = this.blocks.read(bytes, start, end);
    if (dependsOnItself) throw new StreamError(ErrorCode.PROTOCOL_ERROR, DEPENDS_ON_ITSELF);
    this.onHeaderBlock(streamId, block, endStream);
  }

  private onReset(streamId: number, code: number): void {
    if (this.isIdle(streamId)) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'RST_STREAM on an idle stream');
    countCode(this.endings.resetsReceived, code);
    this.recent.addEnded(streamId);
    const stream = this.streams.get(streamId);
    if (stream === undefined) return this.bounds.count('idleFrames');
    this.onPeerReset(stream);
    stream.abort({
      code,
      message: 'the peer reset the stream',
      byPeer: true,
      lost: false,
      unprocessed: code === ErrorCode.REFUSED_STREAM,
    });
  }

  private onSettingsFrame(flags: number, bytes: Buffer, start: number, end: number): void {
    if ((flags & Flag.ACK) !== 0) {
      if (this.settingsUnacknowledged === 0) this.bounds.count('idleFrames');
      else if (--this.settingsUnacknowledged === 0 && this.headerTableSize !== undefined)
        this.blocks.acknowledge(this.headerTableSize);
      return;
    }
    this.bounds.count('settings');
    const before = this.peer.initialWindowSize;
    applySettings(this.peer, bytes, start, end);
    this.writeFrame(0, FrameType.SETTINGS, Flag.ACK, 0);
    this.onSettingsAcknowledged();
    const difference = this.peer.initialWindowSize - before;
    if (difference !== 0) {
      for (const stream of this.streams.all()) {
        if (!stream.sendWindow.widen(difference))
          throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, WINDOW_TOO_LARGE);
        if (difference > 0 && stream.queuedOctets > 0) this.schedule(stream);
      }
      this.pump();
    }
    this.onSettings();
  }

  private onPing(flags: number, bytes: Buffer, start: number, end: number): void {
    if ((flags & Flag.ACK) !== 0) {
      this.bounds.count('idleFrames');
      return this.onPingAck();
    }
    this.bounds.count('pings');
    const page = this.outbox.reserve(FRAME_HEADER_OCTETS + 8);
    const at = writeFrameHeader(page, this.outbox.offset, 8, FrameType.PING, Flag.ACK, 0);
    page.set(bytes.subarray(start, end), at);
    this.outbox.wrote(at + 8);
    this.bounds.requireRead(this.outbox.held);
  }

  private onWindowUpdate(streamId: number, increment: number): void {
    this.bounds.count('windowUpdates');
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
    if (this.recent.endedByPeer(streamId))
      throw new ConnectionError(ErrorCode.STREAM_CLOSED, `${what} on a stream the peer ended`);
    // We have just reset it, perhaps because its answer was complete: the peer did not know when it sent this.
    if (this.recent.resetByUs(streamId)) return;
    this.bounds.count('idleFrames');
  }

  /** END_STREAM from the peer. */
  protected endReceived(stream: Stream, trailers: HeaderBlock | undefined): void {
    this.recent.addEnded(stream.id);
    stream.receiveEnd(trailers);
  }

  /** §5.4.2: the peer's fault ends a stream. One that does not exist cannot be reset, so the connection is. */
  private failStream(streamId: number, code: number, message: string): void {
    if (this.isIdle(streamId)) throw new ConnectionError(code, message);
    this.bounds.count('errors');
    const stream = this.streams.get(streamId);
    // Work that the peer makes us break off costs what it costs when the peer breaks it off itself.
    if (stream !== undefined && maySend(stream.state)) this.bounds.count('resets');
    this.endStream(streamId, code, message);
    this.bounds.requireRead(this.outbox.held);
  }
}

const DEPENDS_ON_ITSELF = 'the stream depends on itself';
const WINDOW_TOO_LARGE = 'a window above 2^31-1';

/** What is wrong with a DATA frame of so many octets, so much of it data, for its stream (§6.1, §6.9, §8.1.1). */
function dataFault(stream: Stream, octets: number, data: number, endStream: boolean): StreamError | undefined {
  if (!mayReceive(stream.state)) return new StreamError(ErrorCode.STREAM_CLOSED, 'DATA after END_STREAM');
  if (!stream.headReceived) return new StreamError(ErrorCode.PROTOCOL_ERROR, 'DATA before HEADERS');
  if (!stream.receiveWindow.take(octets)) {
    return new StreamError(ErrorCode.FLOW_CONTROL_ERROR, 'DATA beyond the window of the stream');
  }
  if (stream.bodyExpected < 0) return undefined;
  stream.bodyExpected -= data;
  if (stream.bodyExpected >= 0 && !(endStream && stream.bodyExpected > 0)) return undefined;
  return new StreamError(ErrorCode.PROTOCOL_ERROR, 'the body does not have the length that content-length gave');
}
