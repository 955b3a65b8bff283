import { readFileSync } from 'node:fs';
import { createServer as createHttp1Server, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttp2Server, type Http2Server, type ServerHttp2Session } from 'node:http2';
import { createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { ConfigurationError } from '@sluice/config';
import type { Transport } from '../exchange.js';
import type { GatewayConfig } from '../config/schema.js';
import { answerClientError } from './client-error.js';
import { Http1Transport } from './http1.js';
import { Http2Transport } from './http2.js';

export interface ListenerOptions {
  readonly host: string;
  readonly port: number;
  readonly tls: { readonly port: number; readonly certFile: string; readonly keyFile: string } | undefined;
  readonly connectionsMax: number;
  readonly limits: Pick<GatewayConfig, 'timeouts' | 'sizes' | 'http2'>;
  /** Called for each limit that a client hits. */
  counted(limit: LimitHit): void;
}

export type LimitHit = 'first_byte_timeout' | 'settings_timeout' | 'session_idle' | 'client_error' | 'flood';

export interface Listener {
  /** The port without TLS, as bound. */
  readonly port: number;
  readonly tlsPort: number | undefined;
  /** Sockets that are open. */
  connections(): number;
  /** Takes no new connections, tells the open ones to go (GOAWAY, `Connection: close`), and ends when the last has; at the latest after `graceMs`. */
  close(graceMs: number): Promise<void>;
}

/** What both protocols' connections begin with is told apart by three bytes: no HTTP/1.1 method begins with `PRI` (RFC 9113 section 3.4). */
const PREFACE_START = Buffer.from('PRI');

/**
 * Listens on one port for HTTP/1.1 and HTTP/2 with prior knowledge, and on another for both over TLS by ALPN.
 *
 * @param handle gets every request
 * @throws ConfigurationError when a port is taken or the certificate cannot be used
 */
export async function listen(options: ListenerOptions, handle: (transport: Transport) => void): Promise<Listener> {
  const { limits } = options;
  const sockets = new Set<Socket>();
  const http1 = http1Server(options, handle);
  const http2 = http2Server(options, handle);
  const sessions = new Set<ServerHttp2Session>();
  http2.on('session', (session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session));
  });

  const keep = (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.setNoDelay(true);
  };
  const byPreface = (socket: Socket) => {
    keep(socket);
    const timer = setTimeout(() => {
      options.counted('first_byte_timeout');
      socket.destroy();
    }, limits.timeouts.headers);
    let seen: Buffer = Buffer.alloc(0);
    const onData = (chunk: Buffer) => {
      seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
      const compared = Math.min(seen.length, PREFACE_START.length);
      const isHttp2 = seen.subarray(0, compared).equals(PREFACE_START.subarray(0, compared));
      if (isHttp2 && compared < PREFACE_START.length) return;
      clearTimeout(timer);
      socket.off('data', onData);
      socket.pause();
      socket.unshift(seen);
      (isHttp2 ? http2 : http1).emit('connection', socket);
      if (!isHttp2) socket.resume();
    };
    socket.on('data', onData);
    socket.on('close', () => clearTimeout(timer));
  };
  const byAlpn = (socket: TLSSocket) => {
    keep(socket);
    (socket.alpnProtocol === 'h2' ? http2 : http1).emit('connection', socket);
  };

  const tcp = createTcpServer({ noDelay: true }, byPreface);
  tcp.maxConnections = options.connectionsMax;
  const tls = options.tls && createTlsServer(tlsOptions(options.tls), byAlpn);
  if (tls) tls.maxConnections = options.connectionsMax;
  await bind(tcp, options.host, options.port, 'GATEWAY_PORT');
  if (tls) await bind(tls, options.host, options.tls!.port, 'GATEWAY_TLS_PORT');
  // Only a server that listens watches its time limits; this one is handed its sockets.
  http1.emit('listening');

  return {
    port: (tcp.address() as AddressInfo).port,
    tlsPort: tls && (tls.address() as AddressInfo).port,
    connections: () => sockets.size,
    async close(graceMs) {
      tcp.close();
      tls?.close();
      for (const session of sessions) session.close();
      const ended = Date.now() + graceMs;
      while (sockets.size > 0 && Date.now() < ended) {
        http1.closeIdleConnections();
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      for (const socket of sockets) socket.destroy();
      http1.closeAllConnections();
    },
  };
}

function http1Server(options: ListenerOptions, handle: (transport: Transport) => void): Server {
  const { timeouts, sizes } = options.limits;
  const server = createHttp1Server({
    maxHeaderSize: sizes.header_list,
    headersTimeout: timeouts.headers,
    requestTimeout: timeouts.request,
    keepAliveTimeout: timeouts.idle,
    connectionsCheckingInterval: Math.min(1000, timeouts.headers),
    insecureHTTPParser: false,
    requireHostHeader: true,
    noDelay: true,
  });
  // One more than preflight admits, so that preflight sees the excess and says so.
  server.maxHeadersCount = sizes.header_count + 1;
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    const encrypted = 'encrypted' in request.socket;
    handle(new Http1Transport(request, response, encrypted ? 'https' : 'http'));
  });
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    response.writeContinue();
    server.emit('request', request, response);
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    options.counted('client_error');
    answerClientError(error, socket);
  });
  return server;
}

function http2Server(options: ListenerOptions, handle: (transport: Transport) => void): Http2Server {
  const { timeouts, sizes, http2 } = options.limits;
  const server = createHttp2Server({
    settings: { maxConcurrentStreams: http2.max_streams, maxHeaderListSize: sizes.header_list, enablePush: false },
    maxSettings: 32,
    maxSessionInvalidFrames: 100,
    maxSessionRejectedStreams: 100,
    maxOutstandingPings: 10,
    streamResetBurst: http2.max_resets,
    streamResetRate: Math.max(1, Math.ceil((http2.max_resets * 1000) / http2.period)),
    unknownProtocolTimeout: timeouts.headers,
  } as Parameters<typeof createHttp2Server>[0]);
  server.on('session', (session: ServerHttp2Session) => {
    session.setTimeout(timeouts.idle, () => {
      options.counted('session_idle');
      session.close();
    });
    const unanswered = setTimeout(() => {
      options.counted('settings_timeout');
      session.destroy();
    }, timeouts.settings);
    session.once('localSettings', () => clearTimeout(unanswered));
    session.on('close', () => clearTimeout(unanswered));
    session.on('error', () => undefined);
    watchFloods(session, options);
  });
  server.on('sessionError', () => options.counted('client_error'));
  server.on('stream', (stream, headers, _flags, rawHeaders) => {
    const scheme = 'encrypted' in (stream.session?.socket ?? {}) ? 'https' : 'http';
    const endStream = stream.endAfterHeaders;
    void headers;
    handle(new Http2Transport(stream, rawHeaders as unknown as string[], endStream, scheme));
  });
  return server;
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
    if (++counts[kind] <= most) return;
    options.counted('flood');
    session.destroy(undefined, 11 /* ENHANCE_YOUR_CALM */);
  };
  session.on('ping', count('ping', max_pings));
  session.on('remoteSettings', count('settings', max_settings));
}

function tlsOptions({ certFile, keyFile }: { certFile: string; keyFile: string }) {
  try {
    return {
      cert: readFileSync(certFile),
      key: readFileSync(keyFile),
      ALPNProtocols: ['h2', 'http/1.1'],
      minVersion: 'TLSv1.2' as const,
      handshakeTimeout: 10_000,
    };
  } catch (error) {
    throw new ConfigurationError([
      `GATEWAY_TLS_CERT_FILE=${certFile}, GATEWAY_TLS_KEY_FILE=${keyFile}: expected PEM files (${(error as Error).message})`,
    ]);
  }
}

async function bind(server: ReturnType<typeof createTcpServer>, host: string, port: number, key: string) {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why =
        error.code === 'EADDRINUSE'
          ? 'a free port, but another process listens on it'
          : `a port to bind (${error.message})`;
      reject(new ConfigurationError([`${key}=${port}: expected ${why}`]));
    });
    server.listen({ port, host, backlog: 4096 }, resolve);
  });
}
