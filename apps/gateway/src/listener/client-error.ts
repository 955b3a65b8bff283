import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Problem, problemContentType, problems, toProblemDocument, type ProblemCode } from '@sluice/problem';
import { isLingering, lingeringClose } from './linger.js';

/** What Node's HTTP/1.1 parser found, as a problem. Everything else is a malformed request. */
const codes: Readonly<Record<string, ProblemCode>> = {
  HPE_HEADER_OVERFLOW: 'HEADERS_TOO_LARGE',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 'PAYLOAD_TOO_LARGE',
  ERR_HTTP_REQUEST_TIMEOUT: 'REQUEST_TIMEOUT',
  METHOD_CONNECT: 'METHOD_NOT_ALLOWED',
};

const reasons: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  413: 'Content Too Large',
  431: 'Request Header Fields Too Large',
};

/**
 * Answers a request that could not be parsed, and closes the connection, since nobody knows where the next one begins.
 * When an answer is on its way already, the connection is cut instead: a second one inside it would be taken for a part of it.
 */
export function answerClientError(error: NodeJS.ErrnoException, socket: Socket): void {
  if (isLingering(socket)) return;
  if (error.code === 'ECONNRESET' || !socket.writable || answerBegun(socket)) {
    socket.destroy();
    return;
  }
  const code = codes[error.code ?? ''] ?? 'MALFORMED_REQUEST';
  const { status } = problems[code];
  const body = JSON.stringify(toProblemDocument(new Problem(code)));
  const allow = code === 'METHOD_NOT_ALLOWED' ? 'allow: DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT\r\n' : '';
  socket.write(
    `HTTP/1.1 ${status} ${reasons[status]}\r\ncontent-type: ${problemContentType}\r\n${allow}content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
  lingeringClose(socket);
}

/** Node keeps the answer that is being written on the socket, and looks at it for the same reason. */
function answerBegun(socket: Socket & { _httpMessage?: ServerResponse | null }): boolean {
  return socket._httpMessage?.headersSent ?? false;
}
