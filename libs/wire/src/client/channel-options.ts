import type { ConnectionOptions as TlsOptions } from 'node:tls';
import type { Refusal } from './admission/admission.js';
import type { SessionLimits } from '../http2/bounds.js';

/** Settings of a channel; every one has a default (README, "Settings"). */
export interface ChannelOptions {
  /** Speak TLS with ALPN `h2`. `true` uses Node's defaults; `servername` defaults to the authority's host if one is given, or to each address's name. */
  tls?: boolean | Pick<TlsOptions, 'ca' | 'cert' | 'key' | 'servername' | 'rejectUnauthorized' | 'minVersion'>;
  /** `:authority` of the calls. Default: the target's host and port. */
  authority?: string;
  /** Connections to each address at most: one at first, more when those there are full, fewer again when they stay idle. */
  connectionsPerAddress?: number;
  /** Connections to an address that were not needed for so long are closed, one at a time but for the last, in milliseconds. */
  shrinkMs?: number;
  /** Calls in flight at most, over the whole channel, besides those that are `unlimited`. Default: as many as fit the connections. */
  maxConcurrent?: number;
  /** `adaptive`: as many calls as keep the peer busy, and at most `maxConcurrent`; the limit follows what calls take. */
  concurrency?: 'fixed' | 'adaptive';
  /** Calls waiting to be sent at most, over the whole channel; further ones end with UNAVAILABLE and `overloaded`. */
  maxQueued?: number;
  /**
   * A call waits so long at most for others to end, in milliseconds; much less once others have waited so long already. `patience`:
   * three quarters of the time that callers give an answer.
   */
  maxWaitMs?: number | 'patience';
  /** Streams per connection at most; the peer's SETTINGS_MAX_CONCURRENT_STREAMS may lower it. */
  maxStreamsPerConnection?: number;
  /** Largest message accepted from the peer, in bytes. */
  maxMessageBytes?: number;
  /** Largest header list accepted from the peer, in bytes as RFC 9113 §6.5.2 counts. */
  maxHeaderListBytes?: number;
  /** Receive window of each stream, in bytes. */
  streamWindowBytes?: number;
  /** TCP and TLS handshake together may take this long, in milliseconds. */
  connectTimeoutMs?: number;
  /** A PING is sent when nothing was received for so long, in milliseconds; 0 sends none. */
  keepaliveMs?: number;
  /** A PING unanswered for so long ends the connection, in milliseconds. */
  keepaliveTimeoutMs?: number;
  /** DNS is asked again this often, and at once (but at most every second) after a failure, in milliseconds. */
  resolveMs?: number;
  /** Sendings of one call at most, the first included. */
  maxAttempts?: number;
  /** Retries allowed per call made, as a share: 0.1 allows one retry for ten calls. */
  retryShare?: number;
  /** Failures in a row after which an address is ejected. */
  ejectAfter?: number;
  /** First ejection's length in milliseconds; doubles with each further one. */
  ejectMs?: number;
  /** Longest ejection and longest pause between connection attempts, in milliseconds. */
  ejectMsMax?: number;
  /** After an ejection an address comes back over this long, in milliseconds. */
  returnMs?: number;
}

/** Numbers for metrics, read at any time. */
export interface ChannelStats {
  /** Addresses known, ejected addresses, and open connections. */
  addresses: number;
  ejected: number;
  connections: number;
  /** Streams in flight; of these, calls with a place among `maxConcurrent`; and calls waiting to be sent. */
  streams: number;
  inFlight: number;
  queued: number;
  /** Of the streams, those that nobody waits for any more and which the upstream has not ended yet. */
  abandoned: number;
  /** Totals since the channel was made. */
  calls: number;
  retries: number;
  retriesRefused: number;
  shed: number;
  refused: Readonly<Record<Refusal, number>>;
  /** Calls that may be in flight now; what they lately took, and what they take when none waits for another, in milliseconds. */
  limit: number;
  latencyMs: number;
  unloadedMs: number;
  /** Calls that waited before they were sent, and how long in all, in milliseconds. */
  waitedCalls: number;
  waitedMs: number;
  /** How long calls have been sent without an answer to any, in milliseconds; and when the peer answered last, as `Date.now()` counts. */
  unansweredMs: number;
  heardAt: number;
  connects: number;
  connectFailures: number;
  /** RST_STREAM sent, and connections that gave way to a fresh one because they had sent many. */
  resets: number;
  retired: number;
  bytesRead: number;
  bytesWritten: number;
}

/** `idle`: no connection yet. `ready`: at least one. `connecting`, `failing`: none. `closing`, `closed`: after `close()`. */
export type ChannelState = 'idle' | 'connecting' | 'ready' | 'failing' | 'closing' | 'closed';

/** Windows and bounds that no deployment needs to change. */
const CONNECTION_WINDOW_BYTES = 4 * 1024 * 1024;
const HELD_BYTES_MAX = 4 * 1024 * 1024;

/** Every option with its default. */
export function withDefaults(options: ChannelOptions): Required<Omit<ChannelOptions, 'tls' | 'authority'>> {
  return {
    connectionsPerAddress: 16,
    shrinkMs: 10_000,
    maxConcurrent: Infinity,
    concurrency: 'fixed',
    maxQueued: 1_000,
    maxWaitMs: Infinity,
    maxStreamsPerConnection: 1_000,
    maxMessageBytes: 4 * 1024 * 1024,
    maxHeaderListBytes: 65_536,
    streamWindowBytes: 262_144,
    connectTimeoutMs: 5_000,
    keepaliveMs: 310_000,
    keepaliveTimeoutMs: 10_000,
    resolveMs: 30_000,
    maxAttempts: 3,
    retryShare: 0.1,
    ejectAfter: 5,
    ejectMs: 1_000,
    ejectMsMax: 5_000,
    returnMs: 10_000,
    ...dropUndefined(options),
  };
}

/** A member that is given as undefined would hide its default. */
export function dropUndefined<T extends object>(options: T): Partial<T> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<T>;
}

/** What an upstream may make its client do. Upstreams are chosen by the operator, so the rates are wide. */
export function clientLimits(options: { maxHeaderListBytes: number; streamWindowBytes: number }): SessionLimits {
  return {
    headerListBytes: options.maxHeaderListBytes,
    headerBlockBytes: options.maxHeaderListBytes * 2,
    maxContinuations: 32,
    streamWindowBytes: options.streamWindowBytes,
    connectionWindowBytes: CONNECTION_WINDOW_BYTES,
    heldBytes: HELD_BYTES_MAX,
    // Servers end the rest of every request that they answered early with one.
    resets: { burst: 100_000, perSecond: 100_000 },
    errors: { burst: 1_000, perSecond: 100 },
    pings: { burst: 1_000, perSecond: 1_000 },
    settings: { burst: 100, perSecond: 10 },
    emptyData: { burst: 1_000, perSecond: 100 },
    windowUpdates: { burst: 100_000, perSecond: 100_000 },
    idleFrames: { burst: 10_000, perSecond: 10_000 },
  };
}
