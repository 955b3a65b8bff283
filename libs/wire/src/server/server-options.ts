import type { Rate } from '../http2/allowance.js';
import type { SessionLimits } from '../http2/bounds.js';

/** What a client may do and make the server hold. Every bound has a default, a counter and a test (README, "Defences"). */
export interface Http2ServerOptions {
  /** SETTINGS_MAX_CONCURRENT_STREAMS; a request beyond it is refused with REFUSED_STREAM. */
  maxConcurrentStreams?: number;
  /** SETTINGS_MAX_HEADER_LIST_SIZE in octets as RFC 9113 §6.5.2 counts; a larger one is answered with 431. */
  maxHeaderListBytes?: number;
  /** Fields of one header list; more are answered with 431. */
  maxHeaderCount?: number;
  /** CONTINUATION frames of one header block. */
  maxContinuations?: number;
  /** Receive window of each stream, in octets. */
  streamWindowBytes?: number;
  /** Receive window of a connection: request bodies it may hold unread, over all streams, in octets. */
  connectionWindowBytes?: number;
  /** Octets of answers that a client may leave unread before the connection is ended. */
  maxHeldBytes?: number;
  /** The preface must be complete this long after the connection was accepted, in milliseconds. */
  prefaceTimeoutMs?: number;
  /** Our SETTINGS must be acknowledged within this time, in milliseconds. */
  settingsTimeoutMs?: number;
  /** A header block, or any frame, that has begun must be complete within this time, in milliseconds. */
  headersTimeoutMs?: number;
  /** A request body must be complete within this time, in milliseconds, unless the handler lifts it (streaming calls). */
  bodyTimeoutMs?: number;
  /** A response must make progress within this time when data is waiting, in milliseconds. */
  writeTimeoutMs?: number;
  /** Octets a second, on average over `writeTimeoutMs`, that a client takes at least of what waits for it; 0: however few. */
  leastWriteRate?: number;
  /** A connection without streams is closed after this time, in milliseconds. */
  idleTimeoutMs?: number;
  /** Requests that end before their answer is complete: by RST_STREAM of the client, or by a fault of its that makes us send one. */
  resets?: Rate;
  /** RST_STREAM that the client makes us send. */
  errors?: Rate;
  pings?: Rate;
  settings?: Rate;
  /** DATA without octets and without END_STREAM. */
  emptyData?: Rate;
  /** WINDOW_UPDATE; every DATA frame we send earns four. */
  windowUpdates?: Rate;
  /** PRIORITY, GOAWAY, acknowledgements, unknown types, frames for streams that are gone. */
  idleFrames?: Rate;
}

export type Http2ServerSettings = Required<Http2ServerOptions>;

export function serverSettings(options: Http2ServerOptions): Http2ServerSettings {
  return {
    maxConcurrentStreams: 250,
    maxHeaderListBytes: 32_768,
    maxHeaderCount: 100,
    maxContinuations: 32,
    streamWindowBytes: 65_535,
    connectionWindowBytes: 1024 * 1024,
    maxHeldBytes: 1024 * 1024,
    prefaceTimeoutMs: 10_000,
    settingsTimeoutMs: 10_000,
    headersTimeoutMs: 10_000,
    bodyTimeoutMs: 30_000,
    writeTimeoutMs: 60_000,
    leastWriteRate: 0,
    idleTimeoutMs: 300_000,
    resets: { burst: 500, perSecond: 100 },
    errors: { burst: 1_000, perSecond: 50 },
    pings: { burst: 100, perSecond: 10 },
    settings: { burst: 20, perSecond: 1 },
    emptyData: { burst: 100, perSecond: 10 },
    windowUpdates: { burst: 2_000, perSecond: 1_000 },
    idleFrames: { burst: 1_000, perSecond: 100 },
    ...Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)),
  };
}

export function serverLimits(settings: Http2ServerSettings): SessionLimits {
  return {
    ...settings,
    headerListBytes: settings.maxHeaderListBytes,
    // Encoded blocks are smaller than their lists; twice the list leaves room for what is read only to be refused.
    headerBlockBytes: settings.maxHeaderListBytes * 2,
    heldBytes: settings.maxHeldBytes,
  };
}

/** Totals since the server was made, but for `open` and `streams`, which are of now. */
export interface Http2ServerCounters {
  /** Connections accepted, and open now. */
  connections: number;
  open: number;
  streams: number;
  requests: number;
  /** Requests refused as malformed (RFC 9113 §8.1.1), as too large (431), and above the concurrent streams. */
  malformed: number;
  headersTooLarge: number;
  refusedStreams: number;
  /** Streams that the client reset. */
  clientResets: number;
  /** Connections ended by an error of the client's, whatever its kind. */
  connectionErrors: number;
  /** Connections ended by a flood, by its kind. */
  resetFloods: number;
  errorFloods: number;
  pingFloods: number;
  settingsFloods: number;
  emptyDataFloods: number;
  windowUpdateFloods: number;
  idleFrameFloods: number;
  continuationFloods: number;
  /** Connections or streams ended because the client sent more DATA than their window. */
  windowOverruns: number;
  /** Connections or streams ended because something took too long. */
  prefaceTimeouts: number;
  settingsTimeouts: number;
  headersTimeouts: number;
  bodyTimeouts: number;
  writeTimeouts: number;
  idleTimeouts: number;
  /** Connections ended because answers were not read. */
  unreadAnswers: number;
}

export function noCounts(): Http2ServerCounters {
  return {
    connections: 0,
    open: 0,
    streams: 0,
    requests: 0,
    malformed: 0,
    headersTooLarge: 0,
    refusedStreams: 0,
    clientResets: 0,
    connectionErrors: 0,
    resetFloods: 0,
    errorFloods: 0,
    pingFloods: 0,
    settingsFloods: 0,
    emptyDataFloods: 0,
    windowUpdateFloods: 0,
    idleFrameFloods: 0,
    continuationFloods: 0,
    windowOverruns: 0,
    prefaceTimeouts: 0,
    settingsTimeouts: 0,
    headersTimeouts: 0,
    bodyTimeouts: 0,
    writeTimeouts: 0,
    idleTimeouts: 0,
    unreadAnswers: 0,
  };
}
