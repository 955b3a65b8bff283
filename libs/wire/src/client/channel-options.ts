import type { ConnectionOptions as TlsOptions } from 'node:tls';

/** Settings of a channel; every one has a default (README, "Settings"). */
export interface ChannelOptions {
  /** Speak TLS with ALPN `h2`. `true` uses Node's defaults; `servername` defaults to the target's host. */
  tls?: boolean | Pick<TlsOptions, 'ca' | 'cert' | 'key' | 'servername' | 'rejectUnauthorized' | 'minVersion'>;
  /** `:authority` of the calls. Default: the target's host and port. */
  authority?: string;
  /** Connections kept to each address at most. */
  connectionsPerAddress?: number;
  /** Calls waiting for a free stream at most, over the whole channel; further ones end with UNAVAILABLE and `overloaded`. */
  maxQueued?: number;
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
  /** Streams in flight and calls waiting for one. */
  streams: number;
  queued: number;
  /** Totals since the channel was made. */
  calls: number;
  retries: number;
  retriesRefused: number;
  shed: number;
  connects: number;
  connectFailures: number;
  bytesRead: number;
  bytesWritten: number;
}

/** `idle`: no connection yet. `ready`: at least one. `connecting`, `failing`: none. `closing`, `closed`: after `close()`. */
export type ChannelState = 'idle' | 'connecting' | 'ready' | 'failing' | 'closing' | 'closed';
