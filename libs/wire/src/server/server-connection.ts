/** The server's end of one HTTP/2 connection: it accepts requests, and sheds clients that misbehave (RFC 9113 §§3–8). */
import type { Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { FixedFields } from '../fixed-fields.js';
import type { Flood } from '../http2/bounds.js';
import type { Endings } from '../http2/endings.js';
import { ConnectionError, ErrorCode, StreamError } from '../http2/errors.js';
import { FrameReceiver } from '../http2/frame-receiver.js';
import { PREFACE } from '../http2/frames.js';
import type { HeaderBlock } from '../http2/header-block.js';
import { Stream } from '../http2/stream.js';
import { mayReceive, maySend } from '../http2/stream-state.js';
import type { ConnectionPeer } from '../sockets/peer.js';
import { readFrom } from '../sockets/read.js';
import type { LoopLag } from '../timers/loop-lag.js';
import { Alarm } from '../timers/wheel.js';
import { requestLine, type RequestLine } from './request-rules.js';
import { serverLimits, type Http2ServerCounters, type Http2ServerSettings } from './server-options.js';
import { ServerStream } from './server-stream.js';

/** The server, as a connection sees it. */
export interface ServerConnectionOwner {
  readonly counters: Http2ServerCounters;
  readonly settings: Http2ServerSettings;
  readonly endings: Endings;
  readonly lag: LoopLag;
  readonly onSettingsAck: ((ms: number) => void) | undefined;
  readonly onRequest: (stream: ServerStream) => void;
  onSocketClosed(connection: ServerConnection): void;
}

/** A request whose header list was too large to be kept. */
const CUT: RequestLine = { method: '', scheme: '', path: '', authority: '' };
/** For answers that no handler makes. */
const DATED = new FixedFields([], { dated: true });
const STREAM_ID_MAX = 2 ** 31 - 1;
const LINGER_MS = 1_000;
/** How long the rest of a request may take whose response is complete. */
const REST_MS = 1_000;
/** How often a connection looks after its clients' timeouts, at most and at least. */
const PATROL_MS = [10, 5_000] as const;

const FLOOD_COUNTERS: Readonly<Record<Flood, keyof Http2ServerCounters>> = {
  resets: 'resetFloods',
  errors: 'errorFloods',
  pings: 'pingFloods',
  settings: 'settingsFloods',
  emptyData: 'emptyDataFloods',
  windowUpdates: 'windowUpdateFloods',
  idleFrames: 'idleFrameFloods',
  continuations: 'continuationFloods',
  unreadAnswers: 'unreadAnswers',
  windowOverruns: 'windowOverruns',
};

export class ServerConnection extends FrameReceiver {
  private prefaceAt = 0;
  /** When SETTINGS of the client came whose acknowledgement has not left, as `performance.now()` counts; 0: there are none. */
  private settingsCameAt = 0;
  private lastId = 0;
  /** The last request that came too late, after the GOAWAY that named `lastId`. */
  private lateId = 0;
  /** After GOAWAY with the true last id: further requests are not looked at. */
  private goneAwayAt = -1;
  private readonly acceptedAt = Date.now();
  private activeAt = Date.now();
  private partialAt = 0;
  private partialFrames = -1;
  private readonly patrolMs: number;
  private readonly patrolAlarm = new Alarm(() => this.patrol());
  private readonly lingerAlarm = new Alarm(() => this.socket.destroy());
  private readonly goawayAlarm = new Alarm(() => this.refuseFurther());

  constructor(
    socket: Socket,
    private readonly owner: ServerConnectionOwner,
    private readonly client: ConnectionPeer,
  ) {
    super(socket, serverLimits(owner.settings), client.shared, client.account);
    const { settings, counters } = owner;
    counters.connections++;
    counters.open++;
    socket.setNoDelay(true);
    readFrom(socket, (octets) => this.read(octets));
    socket.on('error', (error: NodeJS.ErrnoException) => this.lose(error.code ?? error.message));
    socket.on('end', () => this.lose('the client closed the connection'));
    socket.on('close', () => {
      this.lose('the connection was closed');
      this.lingerAlarm.clearTimer();
      owner.onSocketClosed(this);
    });
    const shortest = Math.min(
      settings.prefaceTimeoutMs,
      settings.settingsTimeoutMs,
      settings.headersTimeoutMs,
      settings.bodyTimeoutMs,
      settings.writeTimeoutMs,
      settings.idleTimeoutMs,
    );
    this.patrolMs = Math.min(PATROL_MS[1], Math.max(PATROL_MS[0], shortest / 4));
    this.patrolAlarm.setTimer(this.patrolMs);
    this.sendPreface({
      maxConcurrentStreams: settings.maxConcurrentStreams,
      initialWindowSize: settings.streamWindowBytes,
      maxHeaderListSize: settings.maxHeaderListBytes,
    });
  }

  /** Takes what the socket read; the client's preface comes first (§3.4). */
  read(chunk: Buffer): void {
    if (this.prefaceAt === PREFACE.length) return this.receive(chunk);
    const octets = Math.min(chunk.length, PREFACE.length - this.prefaceAt);
    if (chunk.compare(PREFACE, this.prefaceAt, this.prefaceAt + octets, 0, octets) !== 0) {
      return this.fail(ErrorCode.PROTOCOL_ERROR, 'not the preface of HTTP/2');
    }
    this.prefaceAt += octets;
    if (octets < chunk.length) this.receive(chunk.subarray(octets));
  }

  protected override get endings(): Endings {
    return this.owner.endings;
  }

  /** They were read now, and may have waited since the loop became late. */
  protected override onSettingsAcknowledged(): void {
    if (this.owner.onSettingsAck !== undefined) this.settingsCameAt ||= performance.now() - this.owner.lag.now;
  }

  protected override beforeFlush(): void {
    if (this.settingsCameAt === 0) return;
    this.owner.onSettingsAck?.(performance.now() - this.settingsCameAt);
    this.settingsCameAt = 0;
  }

  /** No request is being answered. */
  get idle(): boolean {
    return this.streams.size === 0;
  }

  protected override isIdle(streamId: number): boolean {
    return streamId % 2 === 0 || streamId > Math.max(this.lastId, this.lateId);
  }

  protected override lastPeerStreamId(): number {
    return this.lastId;
  }

  protected override onHeaderBlock(streamId: number, block: HeaderBlock, endStream: boolean): void {
    const known = this.streams.get(streamId);
    if (known !== undefined) return this.onTrailers(known, block, endStream);
    if (streamId % 2 === 0) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'a request on a stream of the server');
    if (streamId <= this.lastId) {
      // §5.1.1: identifiers only grow; those passed over are closed without ever having existed.
      if (!this.recent.resetByUs(streamId) && !this.recent.endedByPeer(streamId))
        throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'a stream number lower than before');
      return this.onMissingStream(streamId, 'HEADERS');
    }
    // §6.8: requests after the last one that GOAWAY named are not processed; the client knows, or will. What else comes on
    // their streams is ignored as well.
    if (this.goneAwayAt >= 0) {
      this.lateId = Math.max(this.lateId, streamId);
      return this.bounds.count('idleFrames');
    }
    this.lastId = streamId;
    // Answers that are header sections alone leave no stream open that would count against the client.
    this.bounds.requireRead(this.outbox.held);
    const { counters, settings } = this.owner;
    if (this.streams.size >= settings.maxConcurrentStreams && !this.endRests()) {
      counters.refusedStreams++;
      throw new StreamError(ErrorCode.REFUSED_STREAM, 'more concurrent streams than allowed');
    }
    // What did not fit is not there to be judged: it is answered whatever it was.
    const line = block.tooLarge ? CUT : requestLine(block);
    if (typeof line === 'string' || (endStream && block.bodyLength > 0)) {
      counters.malformed++;
      throw new StreamError(
        ErrorCode.PROTOCOL_ERROR,
        typeof line === 'string' ? line : 'content-length without a body',
      );
    }
    this.accept(streamId, line, block, endStream);
  }

  /**
   * Resets the streams whose response is complete and whose request is not: a client that has forgotten them when it had its
   * answer, as gRPC's do, does not count them any more. @returns whether there were any
   */
  private endRests(): boolean {
    const rests = this.streams.all().filter(({ state }) => !maySend(state));
    for (const stream of rests) stream.reset(ErrorCode.NO_ERROR);
    return rests.length > 0;
  }

  private accept(streamId: number, line: RequestLine, block: HeaderBlock, endStream: boolean): void {
    const { counters, settings } = this.owner;
    const stream = new Stream(streamId, this, undefined, this.peer.initialWindowSize, settings.streamWindowBytes);
    const request = new ServerStream(stream, line, block, endStream, this.client, this.socket, settings.bodyTimeoutMs);
    stream.handler = request;
    stream.headReceived = true;
    if (!endStream) stream.bodyExpected = block.bodyLength;
    this.streams.add(stream);
    counters.requests++;
    counters.streams++;
    if (block.tooLarge || block.fields.length > settings.maxHeaderCount) {
      counters.headersTooLarge++;
      request.respond(431, [['content-length', '0']], true, DATED);
    } else if (line.method === 'CONNECT') request.respond(501, [['content-length', '0']], true, DATED);
    else this.owner.onRequest(request);
    if (endStream && mayReceive(stream.state)) this.endReceived(stream, undefined);
  }

  private onTrailers(stream: Stream, block: HeaderBlock, endStream: boolean): void {
    if (!mayReceive(stream.state)) throw new StreamError(ErrorCode.STREAM_CLOSED, 'HEADERS after END_STREAM');
    const fault =
      (block.tooLarge ? 'trailers above the limit' : block.fault) ??
      (block.pseudo.length > 0 ? 'a pseudo-field in trailers' : undefined) ??
      (endStream ? undefined : 'trailers without END_STREAM') ??
      (stream.bodyExpected > 0 ? 'a body shorter than content-length' : undefined);
    if (fault !== undefined) {
      this.owner.counters.malformed++;
      throw new StreamError(ErrorCode.PROTOCOL_ERROR, fault);
    }
    this.endReceived(stream, block);
  }

  /** The response is complete; the rest of the request is of no interest (§8.1). */
  override onEndSent(stream: Stream): void {
    stream.dropRest();
    if (!mayReceive(stream.state)) return;
    if (this.goneAwayAt >= 0) stream.reset(ErrorCode.NO_ERROR);
    else (stream.handler as ServerStream).bodyDeadline = Date.now() + REST_MS;
  }

  protected override onStreamClosed(): void {
    this.owner.counters.streams--;
    if (this.streams.size > 0) return;
    this.activeAt = Date.now();
    if (this.goneAwayAt >= 0 && !this.closed) this.finish('drained');
  }

  protected override onPeerReset(stream: Stream): void {
    // One whose response is complete costs nothing more by being reset.
    if (!maySend(stream.state)) return;
    this.owner.counters.clientResets++;
    this.bounds.count('resets');
  }

  override onFlood(flood: Flood): void {
    this.owner.counters[FLOOD_COUNTERS[flood]]++;
  }

  protected override onGoaway(): void {
    // The client opens no more streams; those it has go on.
    this.draining = true;
    if (this.streams.size === 0) this.finish('the client is going away');
  }

  protected override onSettings(): void {}

  protected override onPingAck(): void {
    if (this.draining && this.goneAwayAt < 0) this.refuseFurther();
  }

  /** Ends the connection, and says why. */
  shed(): void {
    const code = this.idle ? ErrorCode.NO_ERROR : ErrorCode.ENHANCE_YOUR_CALM;
    this.fail(code, 'the connection is ended to make room for others');
  }

  /**
   * §6.8: says that no further requests will be taken, first with the highest id, so that requests on their way are still
   * served; then with the true one. Closes when the last stream has ended.
   */
  drain(): void {
    if (this.closed || this.draining) return;
    this.draining = true;
    this.sendGoaway(ErrorCode.NO_ERROR, 'closing', STREAM_ID_MAX);
    this.sendPing();
    this.goawayAlarm.setTimer(LINGER_MS);
  }

  private refuseFurther(): void {
    this.goawayAlarm.clearTimer();
    if (this.closed || this.goneAwayAt >= 0) return;
    this.goneAwayAt = Date.now();
    if (this.streams.size === 0) this.finish('drained');
    else this.sendGoaway(ErrorCode.NO_ERROR, 'closing', this.lastId);
  }

  private finish(reason: string): void {
    this.fail(ErrorCode.NO_ERROR, reason);
  }

  protected override onClosed(): void {
    this.patrolAlarm.clearTimer();
    this.goawayAlarm.clearTimer();
    if (!this.socket.destroyed) this.lingerAlarm.setTimer(LINGER_MS);
  }

  protected override fail(code: number, message: string): void {
    if (!this.closed && code !== ErrorCode.NO_ERROR) this.owner.counters.connectionErrors++;
    super.fail(code, message);
  }

  lose(reason: string): void {
    if (this.closed) return;
    this.close(reason);
    this.socket.destroy();
  }

  /** Looks for what takes too long. One timer for each connection, however many streams. */
  private patrol(): void {
    this.patrolAlarm.setTimer(this.patrolMs);
    const now = Date.now();
    const { settings, counters } = this.owner;
    if (!this.prefaceSeen) {
      if (now - this.acceptedAt < settings.prefaceTimeoutMs) return;
      counters.prefaceTimeouts++;
      return this.fail(ErrorCode.PROTOCOL_ERROR, 'no preface in time');
    }
    if (this.settingsPending && now - this.acceptedAt >= settings.settingsTimeoutMs) {
      counters.settingsTimeouts++;
      return this.fail(ErrorCode.SETTINGS_TIMEOUT, 'our SETTINGS were not acknowledged in time');
    }
    if (this.headersOverdue(now)) {
      counters.headersTimeouts++;
      return this.fail(ErrorCode.ENHANCE_YOUR_CALM, 'a frame or header block was not completed in time');
    }
    if (this.streams.size > 0) return this.patrolStreams(now);
    this.blocks.forget();
    if (now - this.activeAt >= settings.idleTimeoutMs) {
      counters.idleTimeouts++;
      this.finish('idle');
    }
  }

  private headersOverdue(now: number): boolean {
    // A frame that is not whole, with no other completed since the last look; or a header block without its end.
    if (this.assembly !== undefined) return now - this.assembly.startedAt >= this.owner.settings.headersTimeoutMs;
    if (this.reader.keptBytes === 0) this.partialFrames = -1;
    else if (this.partialFrames !== this.framesReceived) {
      this.partialFrames = this.framesReceived;
      this.partialAt = now;
    } else return now - this.partialAt >= this.owner.settings.headersTimeoutMs;
    return false;
  }

  private patrolStreams(now: number): void {
    const { settings, counters } = this.owner;
    const leastOctets = (settings.leastWriteRate * settings.writeTimeoutMs) / 1000;
    for (const stream of this.streams.all()) {
      const request = stream.handler as ServerStream;
      if (request.bodyDeadline > 0 && now >= request.bodyDeadline) {
        if (!maySend(stream.state)) {
          stream.reset(ErrorCode.NO_ERROR);
          continue;
        }
        counters.bodyTimeouts++;
        this.endStream(stream.id, ErrorCode.CANCEL, 'the request was not complete in time');
      } else if (
        stream.stalled(now, settings.writeTimeoutMs) ||
        stream.slow(now, settings.writeTimeoutMs, leastOctets)
      ) {
        counters.writeTimeouts++;
        this.endStream(stream.id, ErrorCode.CANCEL, 'the response was not read in time');
      }
    }
    // RST_STREAM does not help when the socket itself is stuck.
    if (this.outbox.stuck(now, settings.writeTimeoutMs, leastOctets)) {
      counters.writeTimeouts++;
      this.lose('the client does not read');
    }
  }
}
