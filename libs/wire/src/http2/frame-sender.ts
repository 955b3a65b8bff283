/**
 * What leaves on a connection, for either role: frames written into the outbox, DATA under both windows (RFC 9113 §5.2), and
 * whose turn it is when not everything can leave at once.
 */
import type { Socket } from 'node:net';
import type { Field, Fields } from '../fields.js';
import { type MemoryAccount, unbounded } from '../memory/account.js';
import { type PagePool, pages } from '../sockets/page-pool.js';
import { FIELD_OCTETS_EXTRA, TABLE_SIZE_ZERO, writeField } from '../hpack/encoder.js';
import { countCode, type Endings } from './endings.js';
import { INITIAL_WINDOW, SendWindow } from './flow-control.js';
import { Flag, FRAME_HEADER_OCTETS, FrameType, writeFrameHeader, writeUint32 } from './frames.js';
import { Outbox } from './outbox.js';
import { initialSettings, type Settings } from './settings.js';
import { Sent, type Stream } from './stream.js';

/** Of `content-length`, as a field. */
const LENGTH_OCTETS_MAX = 32;
const NO_FIELDS: Fields = [];

export abstract class FrameSender {
  readonly outbox: Outbox;
  /** What the peer's SETTINGS say. */
  readonly peer: Settings = initialSettings();
  closed = false;
  /** Octets of DATA that have left, of all streams. */
  sentOctets = 0;

  protected readonly sendWindow = new SendWindow(INITIAL_WINDOW);
  private tableSizeDue = true;
  /** Where the last DATA frame stands in the outbox. */
  private lastDataStream = 0;
  private lastDataEpoch = -1;
  private lastDataStart = 0;
  private lastDataEnd = 0;
  private writers: Stream[] = [];
  private pumping = false;

  constructor(
    protected readonly socket: Socket,
    readonly account: MemoryAccount = unbounded,
  ) {
    this.outbox = new Outbox(
      socket,
      () => this.pump(),
      account,
      () => this.beforeFlush(),
      this.pages,
    );
  }

  protected get pages(): PagePool {
    return pages;
  }

  /** The turn ends, and what was written leaves. */
  protected beforeFlush(): void {}

  /** Counts how streams and connections end. */
  protected abstract readonly endings: Endings;
  /** A DATA frame has been written. */
  protected abstract onDataSent(): void;

  /** Whether all of `octets` can leave in one DATA frame now. */
  maySendNow(stream: Stream, octets: number): boolean {
    return (
      octets <= stream.sendWindow.available &&
      octets <= this.sendWindow.available &&
      octets <= this.peer.maxFrameSize &&
      !this.outbox.full
    );
  }

  /** How many of `octets` may leave in one DATA frame. */
  sendable(stream: Stream, octets: number): number {
    return Math.min(octets, stream.sendWindow.available, this.sendWindow.available, this.peer.maxFrameSize);
  }

  /** Writes one DATA frame, which the windows allow; a small one right after another of the stream extends that. */
  sendData(stream: Stream, bytes: Uint8Array, from: number, to: number, endStream: boolean): void {
    const octets = to - from;
    const payload = from === 0 && to === bytes.length ? bytes : bytes.subarray(from, to);
    if (octets <= this.outbox.joinOctets) return this.sendJoined(stream, NOTHING, payload, endStream);
    this.countSent(stream, octets);
    this.writeFrame(octets, FrameType.DATA, endStream ? Flag.END_STREAM : 0, stream.id);
    this.outbox.push(payload);
  }

  /** As `sendData`, for few octets in two pieces. */
  sendJoined(stream: Stream, prefix: Uint8Array, bytes: Uint8Array, endStream: boolean): void {
    const octets = prefix.length + bytes.length;
    this.countSent(stream, octets);
    const { outbox } = this;
    const page = outbox.reserve(FRAME_HEADER_OCTETS + octets);
    let at = outbox.offset;
    const extending =
      this.lastDataStream === stream.id &&
      this.lastDataEpoch === outbox.epoch &&
      this.lastDataEnd === at &&
      at - this.lastDataStart + octets <= this.peer.maxFrameSize;
    if (!extending) {
      this.lastDataStart = at;
      at += FRAME_HEADER_OCTETS;
    }
    for (let index = 0; index < prefix.length; index++) page[at++] = prefix[index]!;
    page.set(bytes, at);
    at += bytes.length;
    const length = at - this.lastDataStart - FRAME_HEADER_OCTETS;
    writeFrameHeader(page, this.lastDataStart, length, FrameType.DATA, endStream ? Flag.END_STREAM : 0, stream.id);
    outbox.wrote(at);
    this.lastDataStream = stream.id;
    this.lastDataEpoch = outbox.epoch;
    this.lastDataEnd = at;
  }

  private countSent(stream: Stream, octets: number): void {
    stream.sendWindow.available -= octets;
    stream.sentOctets += octets;
    this.sendWindow.available -= octets;
    this.sentOctets += octets;
    this.onDataSent();
  }

  /**
   * Writes a header block: an encoded beginning, one more field, then fields and more fields; in CONTINUATION frames when it is longer than a frame.
   * @param length what `content-length` says; -1: the field is left out
   */
  sendFields(
    streamId: number,
    head: Uint8Array | undefined,
    fields: Fields,
    endStream: boolean,
    extra?: Field,
    more: Fields = NO_FIELDS,
    length = -1,
  ): void {
    let room = FRAME_HEADER_OCTETS + 1 + LENGTH_OCTETS_MAX + (head === undefined ? 0 : head.length);
    if (extra !== undefined) room += extra[0].length + extra[1].length + FIELD_OCTETS_EXTRA;
    for (const field of fields) room += field[0].length + field[1].length + FIELD_OCTETS_EXTRA;
    for (const field of more) room += field[0].length + field[1].length + FIELD_OCTETS_EXTRA;
    const page = this.outbox.reserve(room);
    const start = this.outbox.offset;
    const block = start + FRAME_HEADER_OCTETS;
    let at = block;
    if (this.tableSizeDue) {
      page[at++] = TABLE_SIZE_ZERO;
      this.tableSizeDue = false;
    }
    if (head !== undefined) {
      page.set(head, at);
      at += head.length;
    }
    if (extra !== undefined) at = writeField(page, at, extra[0], extra[1]);
    for (const field of fields) at = writeField(page, at, field[0], field[1]);
    for (const field of more) at = writeField(page, at, field[0], field[1]);
    if (length >= 0) at = writeField(page, at, 'content-length', String(length));
    const end = endStream ? Flag.END_STREAM : 0;
    if (at - block <= this.peer.maxFrameSize) {
      writeFrameHeader(page, start, at - block, FrameType.HEADERS, Flag.END_HEADERS | end, streamId);
      this.outbox.wrote(at);
    } else this.sendLongBlock(streamId, Buffer.from(page.subarray(block, at)), end);
  }

  private sendLongBlock(streamId: number, block: Buffer, endFlag: number): void {
    const most = this.peer.maxFrameSize;
    for (let at = 0; at < block.length; at += most) {
      const part = block.subarray(at, at + most);
      const last = at + most >= block.length ? Flag.END_HEADERS : 0;
      if (at === 0) this.writeFrame(part.length, FrameType.HEADERS, endFlag | last, streamId);
      else this.writeFrame(part.length, FrameType.CONTINUATION, last, streamId);
      this.outbox.push(part);
    }
  }

  protected sendWindowUpdate(streamId: number, increment: number): void {
    this.writeFrameWithNumber(FrameType.WINDOW_UPDATE, streamId, increment);
  }

  protected sendPing(): void {
    this.writeFrame(8, FrameType.PING, 0, 0);
    this.outbox.push(PING_PAYLOAD);
  }

  protected sendGoaway(code: number, message: string, lastStreamId: number): void {
    countCode(this.endings.goawaysSent, code);
    const debug = Buffer.from(message, 'latin1');
    this.writeFrame(8 + debug.length, FrameType.GOAWAY, 0, 0);
    const page = this.outbox.reserve(8);
    this.outbox.wrote(writeUint32(page, writeUint32(page, this.outbox.offset, lastStreamId), code));
    this.outbox.push(debug);
  }

  protected writeFrame(octets: number, type: number, flags: number, streamId: number): void {
    const page = this.outbox.reserve(FRAME_HEADER_OCTETS);
    this.outbox.wrote(writeFrameHeader(page, this.outbox.offset, octets, type, flags, streamId));
  }

  protected writeFrameWithNumber(type: number, streamId: number, value: number): void {
    if (this.closed) return;
    const page = this.outbox.reserve(FRAME_HEADER_OCTETS + 4);
    this.outbox.wrote(writeUint32(page, writeFrameHeader(page, this.outbox.offset, 4, type, 0, streamId), value));
  }

  protected dropWriters(): void {
    this.writers = [];
  }

  /** The stream has something to send and waits its turn. */
  schedule(stream: Stream): void {
    if (stream.scheduled) return;
    stream.scheduled = true;
    this.writers.push(stream);
  }

  /** Sends what the windows and the socket allow, a frame from each stream in turn. */
  pump(): void {
    if (this.pumping) return;
    this.pumping = true;
    while (this.writers.length > 0 && !this.outbox.full && !this.closed) {
      const stream = this.writers[0]!;
      const sent = stream.sendSome();
      if (sent === Sent.CONNECTION_BLOCKED) break;
      this.writers.shift();
      if (sent === Sent.MORE) this.writers.push(stream);
      else stream.scheduled = false;
    }
    this.pumping = false;
  }
}

const NOTHING = new Uint8Array(0);
const PING_PAYLOAD = Buffer.alloc(8);
