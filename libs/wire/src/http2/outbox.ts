import type { Socket } from 'node:net';
import { type MemoryAccount, unbounded } from '../memory/account.js';
import { type PagePool, pages } from '../sockets/page-pool.js';
import { flushAtEnd } from '../sockets/turn.js';

/**
 * What leaves on a socket. Everything is copied into pages, so that whoever pushes octets has them back at once, and all
 * sockets are written at the end of the event loop's turn: answers to one read leave in one write.
 */
export class Outbox {
  /** Octets waiting for the end of the turn. */
  pending = 0;
  private page: Buffer | undefined;
  private at = 0;
  /** What stands in pages before this one. */
  private parts: Uint8Array[] = [];
  /** Pages in use: those of this turn, and those that the socket may still refer to. */
  private lending: Buffer[] = [];
  private lent: Buffer[] = [];
  private dirty = false;
  private waitsForDrain = false;
  private takenBefore = -1;
  private takenAt = 0;
  private queuedBefore = 0;
  /** Since when something has always waited, and how much of it was taken since then; 0: nothing waits. */
  private slowSince = 0;
  private slowTaken = 0;
  /** What the account was told of. */
  private counted = 0;

  /**
   * `onRoom` is called when the socket takes more after it had been full, `beforeFlush` when everything is about to leave
   * and more may be added.
   */
  constructor(
    private readonly socket: Socket,
    private readonly onRoom: () => void,
    private readonly account: MemoryAccount = unbounded,
    private readonly beforeFlush = () => {},
    private readonly pool: PagePool = pages,
  ) {
    socket.on('drain', () => {
      this.takeBack();
      this.count();
      this.waitsForDrain = false;
      onRoom();
    });
  }

  /** Octets not yet taken by the kernel. */
  get held(): number {
    return this.pending + this.socket.writableLength;
  }

  /** Octets have been waiting in the socket for `ms` without any being taken, or, always some of them, with less than `octets` being taken. */
  stuck(now: number, ms: number, octets = 0): boolean {
    const { bytesWritten, writableLength } = this.socket;
    const taken = bytesWritten - writableLength;
    const queued = queuedOctets(this.socket);
    this.takeBack();
    this.count();
    const progress = writableLength === 0 || taken !== this.takenBefore || queued < this.queuedBefore;
    // A write that is complete is counted whole, so that a slow one may be counted too high, once.
    this.slowTaken += taken !== this.takenBefore ? taken - this.takenBefore : Math.max(0, this.queuedBefore - queued);
    this.takenBefore = taken;
    this.queuedBefore = queued;
    if (progress) this.takenAt = now;
    if (writableLength === 0) this.slowSince = 0;
    else if (this.slowSince === 0 || now - this.slowSince >= ms) {
      const slow = this.slowSince > 0 && this.slowTaken < octets;
      this.slowSince = now;
      this.slowTaken = 0;
      if (slow) return true;
    }
    return now - this.takenAt >= ms;
  }

  /** Payloads up to this size stand in one page with what is before them. */
  readonly joinOctets = JOIN_OCTETS;
  /** Changes whenever what was written before can no longer be extended. */
  epoch = 0;

  /** More payload should wait: the socket has enough, or this turn has. */
  get full(): boolean {
    return this.waitsForDrain || this.pending >= TURN_OCTETS;
  }

  /** A buffer with room for `octets` from `offset` on; `wrote()` says how far it was used. */
  reserve(octets: number): Buffer {
    const page = this.page;
    if (page !== undefined && page.length - this.at >= octets) return page;
    this.seal();
    const fits = octets <= this.pool.octets;
    const next = fits ? this.pool.take() : Buffer.allocUnsafe(octets);
    if (fits) this.lending.push(next);
    this.page = next;
    this.at = 0;
    return next;
  }

  get offset(): number {
    return this.at;
  }

  wrote(to: number): void {
    this.pending += to - this.at;
    this.at = to;
    this.touch();
  }

  /** Adds a copy of the bytes, in as many pages as it takes. */
  push(bytes: Uint8Array): void {
    const { length } = bytes;
    for (let from = 0; from < length;) {
      const page = this.reserve(1);
      const octets = Math.min(page.length - this.at, length - from);
      page.set(octets === length ? bytes : bytes.subarray(from, from + octets), this.at);
      from += octets;
      this.wrote(this.at + octets);
    }
  }

  /** Hands everything to the socket now. */
  flush(): void {
    this.beforeFlush();
    this.dirty = false;
    this.epoch++;
    if (this.pending === 0) return;
    const wasFull = this.pending >= TURN_OCTETS;
    this.pending = 0;
    const { socket, page, parts } = this;
    const tail = page !== undefined && this.at > 0 ? page.subarray(0, this.at) : undefined;
    this.page = undefined;
    this.at = 0;
    const { lending, lent } = this;
    if (lent.length === 0) {
      this.lent = lending;
      this.lending = lent;
    } else for (const each of lending.splice(0)) lent.push(each);
    if (socket.destroyed || socket.writableEnded) {
      this.parts = [];
      this.lent = [];
      return;
    }
    let ok = true;
    if (parts.length > 0) {
      this.parts = [];
      socket.cork();
      for (const part of parts) ok = socket.write(part);
      if (tail !== undefined) ok = socket.write(tail);
      socket.uncork();
    } else if (tail !== undefined) ok = socket.write(tail);
    if (!ok) this.waitsForDrain = socket.writableNeedDrain;
    this.takeBack();
    this.count();
    if (wasFull && !this.waitsForDrain) this.onRoom();
  }

  /** Of what the kernel has taken, as it mostly does at once, nobody refers to the pages any more. */
  private takeBack(): void {
    const { lent, pool, socket } = this;
    if (lent.length === 0 || socket.writableLength > 0 || socket.destroyed) return;
    while (lent.length > 0) pool.give(lent.pop()!);
  }

  private count(): void {
    const waiting = this.socket.writableLength;
    if (waiting === 0) this.slowSince = 0;
    if (waiting === this.counted) return;
    this.account.hold(waiting - this.counted);
    this.counted = waiting;
  }

  /** Flushes at the end of the turn. */
  touch(): void {
    if (this.dirty) return;
    this.dirty = true;
    flushAtEnd(this);
  }

  /** The page is full. */
  private seal(): void {
    this.epoch++;
    if (this.page !== undefined && this.at > 0) this.parts.push(this.page.subarray(0, this.at));
    this.page = undefined;
  }
}

/**
 * What is left of the write under way. The socket itself counts a write when it is complete, which a large one to a slow client
 * takes long; Node's own time limit of sockets looks at the same place.
 */
function queuedOctets(socket: Socket & { readonly _handle?: { readonly writeQueueSize?: number } | null }): number {
  return socket._handle?.writeQueueSize ?? 0;
}

const JOIN_OCTETS = 4_096;
/** Payload of one connection per turn; the rest follows when the socket has taken it. */
const TURN_OCTETS = 256 * 1024;
