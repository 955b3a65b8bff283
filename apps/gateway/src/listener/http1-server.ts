import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Transport } from '../exchange.js';
import { answerClientError } from './client-error.js';
import { type Http1Context, Http1Transport } from './http1.js';
import type { LimitHit, ListenerOptions, ProtocolServer } from './options.js';

/** Pauses between looks at connections whose header fields are late, in milliseconds. */
const CHECK_MS = 1000;

/**
 * HTTP/1.1 (RFC 9112) by Node's parser. The time that a body may take is the exchange's business, since a stream of
 * requests may be long; here only header fields, idle connections and clients that do not read are timed.
 */
export function http1Server(options: ListenerOptions, handle: (transport: Transport) => void): ProtocolServer {
  const { timeouts, sizes } = options.limits;
  const counts = new Map<LimitHit, number>();
  const counted = (limit: LimitHit) => counts.set(limit, (counts.get(limit) ?? 0) + 1);
  const context: Http1Context = { draining: false, sendMs: timeouts.send };
  const server = createServer({
    maxHeaderSize: sizes.header_list,
    headersTimeout: timeouts.headers,
    requestTimeout: 0,
    keepAliveTimeout: timeouts.idle,
    connectionsCheckingInterval: Math.min(CHECK_MS, timeouts.headers),
    insecureHTTPParser: false,
    requireHostHeader: true,
  });
  // One more than preflight admits, so that preflight sees the excess and says so.
  server.maxHeadersCount = sizes.header_count + 1;
  const take = (request: IncomingMessage, response: ServerResponse) =>
    handle(new Http1Transport(request, response, context));
  server.on('request', take);
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) =>
    handle(new Http1Transport(request, response, context, true)),
  );
  server.on('connect', (_request: IncomingMessage, socket: Socket) => {
    answerClientError(Object.assign(new Error('CONNECT'), { code: 'METHOD_CONNECT' }), socket);
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    counted(limitOf[error.code ?? ''] ?? 'client_error');
    answerClientError(error, socket);
  });
  // A connection between two requests, or one whose client takes nothing of its answer.
  server.on('timeout', (socket: Socket) => {
    counted(socket.writableLength > 0 ? 'slow_reader' : 'idle');
    socket.destroy();
  });
  // Only a server that listens watches its time limits; this one is handed its sockets.
  server.emit('listening');

  return {
    accept(socket, seen) {
      socket.pause();
      if (seen.length > 0) socket.unshift(seen);
      server.emit('connection', socket);
      socket.resume();
    },
    drain() {
      context.draining = true;
    },
    closeIdle: () => server.closeIdleConnections(),
    stop() {
      server.closeAllConnections();
      server.close();
    },
    hits: (limit) => counts.get(limit) ?? 0,
  };
}

const limitOf: Readonly<Record<string, LimitHit>> = {
  ERR_HTTP_REQUEST_TIMEOUT: 'headers_timeout',
  HPE_HEADER_OVERFLOW: 'headers_too_large',
};
