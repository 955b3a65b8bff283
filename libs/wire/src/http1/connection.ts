/** The server's end of one connection of HTTP/1.1: requests one after the other, whatever the client sends ahead (RFC 9112 section 9). */
import type { Socket } from 'node:net';
import type { Fields } from '../fields.js';
import { NO_FIXED_FIELDS } from '../fixed-fields.js';
import { Outbox } from '../http2/outbox.js';
import type { ConnectionPeer } from '../sockets/peer.js';
import { readFrom } from '../sockets/read.js';
import { Alarm, Timer } from '../timers/wheel.js';
import { Http1Fault, malformed } from './fault.js';
import type { Http1Handler, Http1ServerCounters, Http1ServerSettings } from './http1-options.js';
import { CR, LF } from './octets.js';
import { HeadReader, type RequestHead } from './head-reader.js';
import { Http1Request } from './request.js';
import { After, ending, fieldLines, LENGTH_OCTETS_MAX, writeLength } from './response-head.js';

/** The server, as a connection sees it. */
export interface Http1ConnectionOwner {
  readonly settings: Http1ServerSettings;
  readonly counters: Http1ServerCounters;
  readonly handler: Http1Handler;
  readonly draining: boolean;
  /** How often a connection looks for what takes too long, in milliseconds. */
  readonly patrolMs: number;
  onSocketClosed(connection: Http1Connection): void;
}

/** How long a client may go on sending after the last response, in milliseconds. */
const LINGER_MS = 2_000;
/**
 * A client that has closed its side may wait for its answer or have left: only what is sent to it tells. It is asked first
 * after so long, and then again and again, in milliseconds.
 */
const PROBE_MS = [250, 1_000] as const;
/** Says nothing to a client that waits for the final answer (RFC 9110 section 15.2.1), and breaks the socket of one that has left. */
const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n';
/** Empty lines that may stand before a request. */
const EMPTY_LINES_MAX = 8;
/** What a client sends ahead of its turn is read up to here. */
const AHEAD_OCTETS = 65_536;
const HEAD_END = '\r\n\r\n';
const NOTHING: Buffer = Buffer.alloc(0);

export class Http1Connection extends Timer {
  readonly scheme: 'http' | 'https';
  /** The connection ends with the response that is being made. */
  lastResponse = false;

  private readonly outbox: Outbox;
  private readonly heads: HeadReader;
  private request: Http1Request | undefined;
  /** What was read and not yet taken, from `at` on; up to `searched` it contains no end of a head. */
  private input: Buffer = NOTHING;
  private at = 0;
  private searched = 0;
  /** Octets of the last request's body that stand before the next request. */
  private unread = 0;
  private advancing = false;
  private lingering = false;
  /** The last response has left, and so has the end of our side. */
  private finished = false;
  /** The client has closed its side: nothing more will arrive. */
  private inputEnded = false;
  private readonly probeAlarm = new Alarm(() => this.probe());
  private emptyLines = 0;
  /** Octets of the input that the account was told of. */
  private counted = 0;
  private closed = false;
  private stopped = false;
  /** There has been a request. */
  private served = false;
  /** When the head being read began, or the last response ended. */
  private since = Date.now();

  constructor(
    private readonly socket: Socket,
    private readonly owner: Http1ConnectionOwner,
    readonly peer: ConnectionPeer,
  ) {
    super();
    this.scheme = 'encrypted' in socket ? 'https' : 'http';
    this.outbox = new Outbox(socket, () => this.onRoom(), peer.account);
    this.heads = new HeadReader(owner.settings.maxHeadBytes);
    owner.counters.connections++;
    owner.counters.open++;
    readFrom(socket, (octets) => this.read(octets));
    socket.on('end', () => this.onEnd());
    socket.on('error', () => this.cut());
    socket.on('close', () => this.onClose());
    this.setTimer(owner.patrolMs);
  }

  /** Nothing more is read. */
  private get over(): boolean {
    return this.lingering || this.closed;
  }

  get draining(): boolean {
    return this.owner.draining;
  }

  /** Octets that have arrived and were not taken yet. */
  get octetsHere(): number {
    return this.input.length - this.at;
  }

  /** No request is being answered and none has begun to arrive. */
  get idle(): boolean {
    return this.request === undefined && this.input.length === 0 && this.unread === 0;
  }

  // ---- receiving ----------------------------------------------------------------------------------------------------

  /** The octets are ours until this returns: what was not used of them then is copied. */
  read(octets: Buffer): void {
    if (this.over) return;
    const borrowed = this.input.length === 0;
    if (borrowed) {
      if (this.idle) this.since = Date.now();
      this.input = octets;
    } else {
      const rest = this.at === 0 ? this.input : this.input.subarray(this.at);
      this.searched -= this.at;
      this.input = Buffer.concat([rest, octets]);
    }
    this.at = 0;
    this.advance();
    if (!borrowed || this.input.length === 0) return;
    this.input = Buffer.from(this.at === 0 ? this.input : this.input.subarray(this.at));
    this.searched -= this.at;
    this.at = 0;
  }

  /** Takes as much of the input as can be used now. */
  advance(): void {
    if (this.advancing) return;
    this.advancing = true;
    try {
      while (!this.over && this.at < this.input.length) {
        const { request } = this;
        if (this.unread > 0) this.passOver();
        else if (request === undefined) {
          // A client that does not read gets no further answers.
          if (this.outbox.full || !this.readHead()) break;
        } else if (request.reading) {
          const to = request.take(this.input, this.at);
          if (!this.over) this.at = to;
        } else break;
      }
    } catch (error) {
      if (!(error instanceof Http1Fault)) throw error;
      this.answerFault(error);
    } finally {
      this.advancing = false;
    }
    this.settleInput();
    if (this.inputEnded) this.advanceToEnd();
  }

  /** Nothing more will arrive: what has not come whole never will. */
  private advanceToEnd(): void {
    if (this.over) return;
    const { request } = this;
    if (request?.reading && this.at === this.input.length) this.cut();
    else if (request === undefined && !this.outbox.full) this.linger();
  }

  private passOver(): void {
    const octets = Math.min(this.unread, this.input.length - this.at);
    this.at += octets;
    this.unread -= octets;
    if (this.unread === 0) this.since = Date.now();
  }

  /** Lets go of what was taken, and stops reading while too much has not been. */
  private settleInput(): void {
    const left = this.input.length - this.at;
    if (left === 0) {
      this.input = NOTHING;
      this.at = this.searched = 0;
    }
    if (left !== this.counted) {
      this.peer.account.hold(left - this.counted);
      this.counted = left;
    }
    const ahead = this.request !== undefined || this.outbox.full;
    const stop = ahead && left > AHEAD_OCTETS;
    if (stop === this.stopped) return;
    this.stopped = stop;
    if (stop) this.socket.pause();
    else this.socket.resume();
  }

  /** @returns false when the head is not whole yet */
  private readHead(): boolean {
    const { input, owner } = this;
    // Empty lines before a request are passed over (section 2.2).
    while (input[this.at] === CR && input[this.at + 1] === LF) {
      if (++this.emptyLines > EMPTY_LINES_MAX) throw malformed('Empty lines came instead of a request.');
      this.at += 2;
    }
    const from = this.at;
    const repeated = this.heads.repeated(input, from);
    if (repeated !== undefined) {
      this.onHead(repeated);
      return true;
    }
    const end = input.indexOf(HEAD_END, Math.max(from, this.searched - HEAD_END.length + 1), 'latin1');
    const octets = (end === -1 ? input.length : end) - from;
    if (octets > owner.settings.maxHeadBytes) {
      owner.counters.headersTooLarge++;
      throw new Http1Fault(431, `The head of the request is larger than ${owner.settings.maxHeadBytes} bytes.`);
    }
    if (end === -1) {
      requireLineEnds(input, Math.max(from, this.searched - 1));
      this.searched = input.length;
      return false;
    }
    this.onHead(this.heads.read(input, from, end + HEAD_END.length));
    return true;
  }

  /** A head was read from where the input is. */
  private onHead(head: RequestHead): void {
    const { owner } = this;
    this.at += this.heads.length;
    this.searched = this.emptyLines = 0;
    owner.counters.requests++;
    this.served = true;
    const request = new Http1Request(this, head);
    this.request = request;
    owner.handler.onRequest(request);
  }

  /**
   * A client may close its side and still wait for the answers to what it has sent (section 9.6). One that takes an answer
   * piece by piece closes its side only when it leaves.
   */
  private onEnd(): void {
    if (this.lingering || this.request?.begun) return this.cut();
    this.inputEnded = true;
    this.advance();
    if (!this.over) this.probeAlarm.setTimer(PROBE_MS[0]);
  }

  /** Finds out whether a client that has closed its side is still there. */
  private probe(): void {
    if (this.over) return;
    if (this.request?.waits) this.send(CONTINUE, undefined);
    this.probeAlarm.setTimer(PROBE_MS[1]);
  }

  private onClose(): void {
    this.clearTimer();
    this.probeAlarm.clearTimer();
    if (!this.closed) this.leave();
    this.owner.onSocketClosed(this);
  }

  /** What cannot be read as a request is answered, unless a response has begun: a second one inside it would be taken for a part of it. */
  private answerFault(fault: Http1Fault): void {
    const { request, owner } = this;
    if (fault.status !== 431 && fault.status !== 408) owner.counters.malformed++;
    const begun = request?.begun === true;
    this.request = undefined;
    request?.gone();
    if (begun || this.closed) return this.cut();
    const { fields, body } = owner.handler.answerFault(fault, this.scheme);
    const allow = fault.status === 405 ? 'allow: DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT\r\n' : '';
    const head = NO_FIXED_FIELDS.http1Head(fault.status);
    this.sendHead(head, fieldLines(fields) + allow, body.byteLength, After.CLOSES, body);
    this.linger();
  }

  // ---- sending ------------------------------------------------------------------------------------------------------

  /**
   * The head of a response, and a body after it.
   * @param lines of fields, after those of `head`
   * @param length what `Content-Length` says; -1: the field is left out
   */
  sendHead(head: Uint8Array, lines: string, length: number, after: number, body: Uint8Array | undefined): void {
    const { outbox } = this;
    const small = body !== undefined && body.byteLength <= outbox.joinOctets;
    const end = ending(after);
    const room = head.length + lines.length + LENGTH_OCTETS_MAX + end.length;
    const page = outbox.reserve(room + (small ? body.byteLength : 0));
    let at = outbox.offset;
    page.set(head, at);
    at += head.length;
    if (lines !== '') at += page.write(lines, at, 'latin1');
    if (length >= 0) at = writeLength(page, at, length);
    page.set(end, at);
    at += end.length;
    if (small) {
      page.set(body, at);
      at += body.byteLength;
    }
    outbox.wrote(at);
    if (body !== undefined && !small) outbox.push(body);
  }

  /** Text, and a piece of a body after it. */
  private send(head: string, body: Uint8Array | undefined): void {
    const { outbox } = this;
    const small = body !== undefined && body.byteLength <= outbox.joinOctets;
    const page = outbox.reserve(head.length + (small ? body.byteLength : 0));
    let at = outbox.offset;
    at += page.write(head, at, 'latin1');
    if (small) {
      page.set(body, at);
      at += body.byteLength;
    }
    outbox.wrote(at);
    if (body !== undefined && !small) outbox.push(body);
  }

  /** A piece of a body; as a chunk of its own, or as it is. */
  sendPiece(piece: Uint8Array, chunked: boolean): boolean {
    if (this.closed) return true;
    if (chunked) this.send(`${piece.byteLength.toString(16)}\r\n`, piece);
    else this.outbox.push(piece);
    if (chunked) this.outbox.push(LINE_END);
    return !this.outbox.full;
  }

  /** @throws TypeError for trailers that would break the message */
  sendLast(trailers: Fields): void {
    this.send(`0\r\n${fieldLines(trailers)}\r\n`, undefined);
  }

  /** Leave to send the body, unless it is on its way already (RFC 9110 section 10.1.1). */
  sendContinue(): void {
    if (this.at < this.input.length) return;
    this.send(CONTINUE, undefined);
  }

  private onRoom(): void {
    const { request } = this;
    if (request !== undefined) request.events?.onDrain();
    else this.advance();
  }

  // ---- ending -------------------------------------------------------------------------------------------------------

  /** The response of a request is complete. */
  responded(request: Http1Request): void {
    if (this.request !== request || this.closed) return;
    this.request = undefined;
    this.since = Date.now();
    if (this.lastResponse) return this.linger();
    this.unread = request.rest;
    this.advance();
  }

  /** Closes a connection on which nothing happens. */
  closeIdle(): void {
    if (this.idle && !this.over) this.linger();
  }

  /**
   * Closes our side when everything has left, and reads what comes for a while after that. Closing at once would make the kernel send a reset, which can destroy
   * the response before the client has read it (section 9.6).
   */
  private linger(): void {
    if (this.over) return;
    this.lingering = true;
    this.input = NOTHING;
    this.at = 0;
    this.outbox.flush();
    this.socket.end(() => {
      this.finished = true;
      if (!this.closed) this.setTimer(LINGER_MS);
    });
    this.socket.resume();
  }

  /** Ends the connection now. What was written before leaves first; the client sees that it is not the whole. */
  cut(byReset = false): void {
    if (this.closed) return;
    this.outbox.flush();
    this.leave();
    // TLS says by itself when an end is none.
    if (byReset && this.scheme === 'http') this.socket.resetAndDestroy();
    else this.socket.destroy();
  }

  private leave(): void {
    this.closed = true;
    this.input = NOTHING;
    const { request } = this;
    this.request = undefined;
    request?.gone();
  }

  /** Looks for what takes too long. */
  override onTimeout(): void {
    if (this.finished) {
      this.socket.destroy();
      return;
    }
    const { settings, counters, patrolMs } = this.owner;
    this.setTimer(patrolMs);
    const now = Date.now();
    const leastOctets = ((settings.leastWriteRate ?? 0) * settings.writeTimeoutMs) / 1000;
    if (this.outbox.stuck(now, settings.writeTimeoutMs, leastOctets)) {
      counters.writeTimeouts++;
      return this.cut();
    }
    if (this.request !== undefined || this.lingering || this.outbox.held > 0) return;
    this.heads.forget();
    if (this.idle && this.served) {
      if (now - this.since < settings.idleTimeoutMs) return;
      counters.idleTimeouts++;
      return this.linger();
    }
    if (now - this.since < settings.headersTimeoutMs) return;
    counters.headersTimeouts++;
    if (this.idle || this.unread > 0) this.linger();
    else this.answerFault(new Http1Fault(408, 'The head of the request did not arrive in time.'));
  }
}

const LINE_END = Buffer.from('\r\n');

/** A head that is not whole has no line that ends with LF alone: its end would be waited for in vain. */
function requireLineEnds(input: Buffer, from: number): void {
  for (let lf = input.indexOf(LF, from); lf !== -1; lf = input.indexOf(LF, lf + 1)) {
    if (lf === 0 || input[lf - 1] !== CR) throw malformed('A line ends with LF alone.');
  }
}
