import { createServer, type ServerHttp2Session } from 'node:http2';
import type { Transport } from '../exchange.js';
import { Http2Transport } from './http2.js';
import type { ListenerOptions, ProtocolServer } from './options.js';

/** The largest id of a stream: a GOAWAY with it refuses nothing yet (RFC 9113 section 6.8). */
const STREAM_ID_MAX = 2 ** 31 - 1;
/** Between the GOAWAY that announces the end and the one that names the last stream: longer than a round trip. */
const NOTICE_MS = 500;
const ENHANCE_YOUR_CALM = 11;

/** HTTP/2 (RFC 9113) by `node:http2`. */
export function http2Server(options: ListenerOptions, handle: (transport: Transport) => void): ProtocolServer {
  const { timeouts, sizes, http2 } = options.limits;
  const sessions = new Set<ServerHttp2Session>();
  const server = createServer({
    settings: { maxConcurrentStreams: http2.max_streams, maxHeaderListSize: sizes.header_list, enablePush: false },
    maxSettings: 32,
    // Preflight counts the fields, so that the excess is a 431 and not a reset.
    maxHeaderListPairs: sizes.header_count * 8,
    maxSessionInvalidFrames: 100,
    maxSessionRejectedStreams: 100,
    maxOutstandingPings: 10,
    streamResetBurst: http2.max_resets,
    streamResetRate: Math.max(1, Math.ceil((http2.max_resets * 1000) / http2.period)),
  } as Parameters<typeof createServer>[0]);
  server.on('session', (session: ServerHttp2Session) => {
    sessions.add(session);
    session.setTimeout(timeouts.idle, () => {
      options.counted('idle');
      session.close();
    });
    const unanswered = setTimeout(() => {
      options.counted('settings_timeout');
      session.destroy();
    }, timeouts.settings);
    session.once('localSettings', () => clearTimeout(unanswered));
    session.on('close', () => {
      clearTimeout(unanswered);
      sessions.delete(session);
    });
    session.on('error', () => undefined);
    watchFloods(session, options);
  });
  server.on('sessionError', () => options.counted('client_error'));
  server.on('stream', (stream, _headers, _flags, rawHeaders) => {
    const scheme = 'encrypted' in (stream.session?.socket ?? {}) ? 'https' : 'http';
    const slow = () => options.counted('slow_reader');
    const transport = new Http2Transport(stream, rawHeaders as unknown as string[], scheme, timeouts.send, slow);
    handle(transport);
  });

  return {
    accept(socket, seen) {
      socket.pause();
      if (seen.length > 0) socket.unshift(seen);
      server.emit('connection', socket);
    },
    drain() {
      for (const session of sessions) session.goaway(0, STREAM_ID_MAX);
      setTimeout(() => {
        for (const session of sessions) session.close();
      }, NOTICE_MS);
    },
    closeIdle: () => undefined,
    stop() {
      for (const session of sessions) session.destroy();
    },
  };
}

/** Pings and settings are cheap to send and cost an answer each: past a number in a period the client is sent away. */
function watchFloods(session: ServerHttp2Session, options: ListenerOptions): void {
  const { max_pings, max_settings, period } = options.limits.http2;
  let periodEnd = 0;
  const counts = { ping: 0, settings: 0 };
  const count = (kind: keyof typeof counts, most: number) => () => {
    const now = performance.now();
    if (now > periodEnd) {
      periodEnd = now + period;
      counts.ping = counts.settings = 0;
    }
    if (++counts[kind] !== most + 1) return;
    options.counted('flood');
    session.destroy(undefined, ENHANCE_YOUR_CALM);
  };
  session.on('ping', count('ping', max_pings));
  session.on('remoteSettings', count('settings', max_settings));
}
