import { type Caller, refusals } from '@sluice/identity';
import { Problem } from '@sluice/problem';
import { Timer } from '@sluice/wire';
import { type SessionStreams, streamsOf } from './session-streams.js';
import type { StreamOwner, StreamShare } from './stream-share.js';

/** Who forwards a stream, and can end it in the form that the client reads. */
export interface StreamForwarder {
  refuse(problem: Problem): void;
}

/** Why the gateway ended a stream. */
export type StreamEnding = 'session' | 'token' | 'idle';

/** A caller's token ends the stream when it expires, or when the session has shown no other that is still valid, or not at all. */
export type StreamExpiry = 'end' | 'session' | 'ignore';

export interface OpenStreamOptions {
  readonly share: StreamShare;
  readonly owner: StreamOwner;
  /** Undefined: nobody is signed in, and neither a session nor a token can end it. */
  readonly caller: Caller | undefined;
  readonly expiry: StreamExpiry;
  /** A stream in which nothing was said for so long is ended, in milliseconds; Infinity: never. */
  readonly idleMs: number;
  /** Where it is found by its session; undefined: the end of the session does not end it. */
  readonly sessions: SessionStreams | undefined;
  /** Ends it, before there is a forwarder. */
  readonly forwarder: StreamForwarder;
}

/**
 * One stream between a client and an upstream: its place, and what ends it before either side does. A client or a service that is
 * slow is not idle: while a message waits for room, `touch` was called and the listener's own time limit runs.
 */
export class OpenStream extends Timer {
  private forwarder: StreamForwarder;
  private activeAt = Date.now();
  private expiresAt = Infinity;

  constructor(private readonly options: OpenStreamOptions) {
    super();
    const { caller, expiry, sessions, forwarder } = options;
    this.forwarder = forwarder;
    if (caller && expiry !== 'ignore') this.expiresAt = caller.expiresAtMs;
    if (caller) sessions?.add(streamsOf(caller), this);
    this.setTimerForNext();
  }

  forwardedBy(forwarder: StreamForwarder): void {
    this.forwarder = forwarder;
  }

  /** Something was said in it, by either side. */
  touch(): void {
    this.activeAt = Date.now();
  }

  /** Its session has ended. */
  sessionEnded(): void {
    this.end('session', this.options.caller?.key === undefined ? refusals.revoked : refusals.keyRevoked);
  }

  /** Its session has shown a token that is valid until then, in milliseconds since the epoch. */
  sessionShown(expiresAtMs: number): void {
    if (this.options.expiry === 'session' && expiresAtMs > this.expiresAt) this.expiresAt = expiresAtMs;
  }

  override onTimeout(): void {
    const now = Date.now();
    if (now >= this.expiresAt) return this.end('token', refusals.expired);
    if (now - this.activeAt >= this.options.idleMs) return this.end('idle', silent);
    this.setTimerForNext();
  }

  /** The answer has ended, or never will. */
  close(): void {
    const { share, owner, caller, sessions } = this.options;
    this.clearTimer();
    if (caller) sessions?.delete(streamsOf(caller), this);
    share.giveBack(owner);
  }

  private end(cause: StreamEnding, problem: Problem): void {
    this.options.share.ended[cause]++;
    this.forwarder.refuse(problem);
  }

  private setTimerForNext(): void {
    const next = Math.min(this.expiresAt, this.activeAt + this.options.idleMs);
    // Looked at again after a day where it is later: a timer does not go so far.
    if (next !== Infinity) this.setTimer(Math.min(next - Date.now(), LONGEST_MS));
  }
}

const LONGEST_MS = 86_400_000;

const silent = new Problem('DEADLINE_EXCEEDED', 'Nothing was said in this stream for too long. Open another.');
