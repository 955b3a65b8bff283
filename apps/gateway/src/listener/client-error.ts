import type { Socket } from 'node:net';
import { Problem, problemContentType, problems, toProblemDocument, type ProblemCode } from '@sluice/problem';

/** What Node's HTTP/1.1 parser found, as a problem. Everything else is a malformed request. */
const codes: Readonly<Record<string, ProblemCode>> = {
  HPE_HEADER_OVERFLOW: 'HEADERS_TOO_LARGE',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 'PAYLOAD_TOO_LARGE',
  ERR_HTTP_REQUEST_TIMEOUT: 'REQUEST_TIMEOUT',
};

const reasons: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  408: 'Request Timeout',
  413: 'Content Too Large',
  431: 'Request Header Fields Too Large',
};

/** Answers a request that could not be parsed, and closes the connection, since nobody knows where the next one begins. */
export function answerClientError(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const code = codes[error.code ?? ''] ?? 'MALFORMED_REQUEST';
  const { status } = problems[code];
  const body = JSON.stringify(toProblemDocument(new Problem(code)));
  socket.end(
    `HTTP/1.1 ${status} ${reasons[status]}\r\ncontent-type: ${problemContentType}\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}
