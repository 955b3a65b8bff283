import { Problem, problemContentType, type ProblemCode, toProblemDocument } from '@sluice/problem';
import { newTraceContext } from '@sluice/telemetry';
import { type Field, Http1Server, type Http1Fault } from '@sluice/wire';
import type { Transport } from '../exchange.js';
import type { LimitHit, ListenerOptions, ProtocolServer } from './options.js';

/**
 * HTTP/1.1 (RFC 9112) by our own server. The time that a body may take is the exchange's business, since a stream of
 * requests may be long; the server times header fields, idle connections and clients that do not read.
 */
export function http1Server(options: ListenerOptions, handle: (transport: Transport) => void): ProtocolServer {
  const { timeouts, sizes } = options.limits;
  const server = new Http1Server(
    {
      onRequest: handle,
      answerFault: (fault, scheme) => answerFault(fault, scheme === 'https' ? options.hsts() : undefined),
    },
    {
      maxHeadBytes: sizes.header_list,
      headersTimeoutMs: timeouts.headers,
      idleTimeoutMs: timeouts.idle,
      writeTimeoutMs: timeouts.send,
      leastWriteRate: sizes.min_send_rate,
    },
  );
  const { counters } = server;
  const hits: Partial<Record<LimitHit, () => number>> = {
    headers_timeout: () => counters.headersTimeouts,
    headers_too_large: () => counters.headersTooLarge,
    idle: () => counters.idleTimeouts,
    slow_reader: () => counters.writeTimeouts,
    client_error: () => counters.malformed,
  };
  return {
    accept(socket, seen, client) {
      const connection = server.accept(socket, seen, client);
      client.idle = () => connection.idle;
      client.shed = () => connection.cut();
    },
    drain() {
      server.draining = true;
    },
    closeIdle: () => server.closeIdle(),
    stop: () => server.stop(),
    hits: (limit) => hits[limit]?.() ?? 0,
  };
}

const codes: Readonly<Record<Http1Fault['status'], ProblemCode>> = {
  400: 'MALFORMED_REQUEST',
  405: 'METHOD_NOT_ALLOWED',
  408: 'REQUEST_TIMEOUT',
  413: 'PAYLOAD_TOO_LARGE',
  417: 'EXPECTATION_FAILED',
  431: 'HEADERS_TOO_LARGE',
  501: 'UNIMPLEMENTED',
  505: 'HTTP_VERSION_NOT_SUPPORTED',
};

function answerFault({ status, message }: Http1Fault, hsts: Field | undefined) {
  return {
    fields: [
      ['content-type', problemContentType],
      ['x-request-id', newTraceContext().traceId],
      ...(hsts ? [hsts] : []),
    ] as const,
    body: Buffer.from(JSON.stringify(toProblemDocument(new Problem(codes[status], message)))),
  };
}
