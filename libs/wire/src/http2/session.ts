/**
 * One HTTP/2 connection, for either role: its streams, the credit that both flow controls give back (RFC 9113 §5.2), what a
 * peer may make us do, and how streams and the connection end (§5.4). `FrameReceiver` adds what the frames mean.
 */
import type { Socket } from 'node:net';
import type { MemoryAccount } from '../memory/account.js';
import { Bounds, type Flood, type SessionLimits } from './bounds.js';
import { countCode } from './endings.js';
import { ErrorCode } from './errors.js';
import { INITIAL_WINDOW, ReceiveWindow } from './flow-control.js';
import { FrameSender } from './frame-sender.js';
import { FrameType } from './frames.js';
import { RecentStreams } from './recent-streams.js';
import { encodeSettings, type OwnSettings } from './settings.js';
import type { Stream } from './stream.js';
import { StreamTable } from './stream-table.js';

export abstract class Session extends FrameSender {
  readonly streams = new StreamTable();
  /** No further streams are opened: GOAWAY was sent or received, or the connection is gone. */
  draining = false;

  protected readonly bounds: Bounds;
  protected readonly recent = new RecentStreams();
  protected readonly receiveWindow: ReceiveWindow;
  /** What our SETTINGS say of the peer's encoder, if they do. */
  protected headerTableSize: number | undefined;
  /** SETTINGS of ours that the peer has not acknowledged. */
  protected settingsUnacknowledged = 0;

  constructor(
    socket: Socket,
    limits: SessionLimits,
    /** Credit for the whole connection is given back on arrival (a stalled stream stalls no other), or when data is used. */
    protected readonly creditOnArrival: boolean,
    account?: MemoryAccount,
  ) {
    super(socket, account);
    this.bounds = new Bounds(limits, this);
    this.receiveWindow = new ReceiveWindow(limits.connectionWindowBytes);
  }

  /** A stream is gone from the table. */
  protected abstract onStreamClosed(stream: Stream): void;
  /** The connection is over: every stream has been ended. */
  protected abstract onClosed(reason: string): void;
  /** The highest stream id of the peer that we processed, for GOAWAY. */
  protected abstract lastPeerStreamId(): number;
  /** END_STREAM has left on a stream, which is about to close if the peer has ended it too. */
  onEndSent(_stream: Stream): void {}
  /** A bound was exceeded; the connection ends, or the stream whose window was overrun. */
  onFlood(_flood: Flood): void {}

  protected override onDataSent(): void {
    this.bounds.earnByData();
  }

  /** Our SETTINGS and the connection's window. A client's preface goes before. */
  protected sendPreface(ours: OwnSettings): void {
    this.headerTableSize = ours.headerTableSize;
    const settings = encodeSettings(ours);
    this.writeFrame(settings.length, FrameType.SETTINGS, 0, 0);
    this.outbox.push(settings);
    this.settingsUnacknowledged++;
    const more = this.bounds.limits.connectionWindowBytes - INITIAL_WINDOW;
    if (more > 0) this.sendWindowUpdate(0, more);
  }

  /** Whether our SETTINGS are still unanswered. */
  get settingsPending(): boolean {
    return this.settingsUnacknowledged > 0;
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

  protected consumedNow(octets: number): void {
    const increment = this.receiveWindow.release(octets);
    if (increment > 0) this.sendWindowUpdate(0, increment);
  }

  sendReset(streamId: number, code: number): void {
    countCode(this.endings.resetsSent, code);
    this.recent.addReset(streamId);
    this.writeFrameWithNumber(FrameType.RST_STREAM, streamId, code);
  }

  /** A stream is over. */
  forget(stream: Stream): void {
    if (this.streams.get(stream.id) !== stream) return;
    this.streams.delete(stream.id);
    this.onStreamClosed(stream);
  }

  /** RST_STREAM, and the handler hears of it. */
  protected endStream(streamId: number, code: number, message: string): void {
    this.sendReset(streamId, code);
    this.streams.get(streamId)?.abort({ code, message, byPeer: false, lost: false, unprocessed: false });
  }

  /** §5.4.1: GOAWAY with the reason, then the connection is closed. */
  protected fail(code: number, message: string): void {
    if (this.closed) return;
    this.draining = true;
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
    const lost = { code: ErrorCode.INTERNAL_ERROR, message: reason, byPeer: false, lost: true, unprocessed: false };
    for (const stream of this.streams.all()) stream.abort(lost);
    this.onClosed(reason);
  }
}
