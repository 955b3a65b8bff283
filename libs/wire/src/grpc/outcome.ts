/** How a call ended, from what HTTP/2 carried (gRPC over HTTP/2, "Responses" and "Errors"). */
import type { Outcome } from '../client/call.js';
import type { Fields } from '../fields.js';
import type { Abort } from '../http2/stream.js';
import { ErrorCode, errorCodeName } from '../http2/errors.js';
import { Status } from './status.js';

const NO_FIELDS: Fields = [];

/** An outcome of our own making. */
export function failure(code: number, message: string, unprocessed = false): Outcome {
  return { code, message, trailers: NO_FIELDS, unprocessed };
}

/** From trailers, or from the headers of a trailers-only response. */
export function outcomeOfTrailers(trailers: Fields): Outcome {
  let code = -1;
  let message = '';
  let details: Buffer | undefined;
  for (const [name, value] of trailers) {
    if (name === 'grpc-status') code = statusCode(value);
    else if (name === 'grpc-message') message = decodeMessage(value);
    else if (name === 'grpc-status-details-bin') details = Buffer.from(value, 'base64');
  }
  if (code < 0)
    return { code: Status.UNKNOWN, message: 'the response ended without grpc-status', trailers, unprocessed: false };
  return details === undefined
    ? { code, message, trailers, unprocessed: false }
    : { code, message, details, trailers, unprocessed: false };
}

function statusCode(text: string): number {
  const code = text.length <= 2 ? Number(text) : NaN;
  return Number.isInteger(code) && code >= 0 && code <= 16 ? code : Status.UNKNOWN;
}

/** A response that is not gRPC, by its HTTP status (gRPC's http-grpc-status-mapping.md). */
export function outcomeOfHttpStatus(httpStatus: number, fields: Fields): Outcome {
  const code = HTTP_STATUS_CODES.get(httpStatus) ?? Status.UNKNOWN;
  return {
    code,
    message: `the peer answered HTTP ${httpStatus} instead of gRPC`,
    trailers: fields,
    unprocessed: false,
  };
}

const HTTP_STATUS_CODES: ReadonlyMap<number, number> = new Map([
  [400, Status.INTERNAL],
  [401, Status.UNAUTHENTICATED],
  [403, Status.PERMISSION_DENIED],
  [404, Status.UNIMPLEMENTED],
  [429, Status.UNAVAILABLE],
  [502, Status.UNAVAILABLE],
  [503, Status.UNAVAILABLE],
  [504, Status.UNAVAILABLE],
]);

/** A stream that was reset, or whose connection was lost. */
export function outcomeOfAbort(abort: Abort): Outcome {
  if (abort.byPeer) {
    const code = RESET_CODES.get(abort.code) ?? Status.INTERNAL;
    return failure(code, `the peer reset the stream: ${errorCodeName(abort.code)}`, abort.unprocessed);
  }
  if (abort.lost) return failure(Status.UNAVAILABLE, abort.message, abort.unprocessed);
  return failure(
    abort.code === ErrorCode.ENHANCE_YOUR_CALM ? Status.RESOURCE_EXHAUSTED : Status.INTERNAL,
    abort.message,
  );
}

const RESET_CODES: ReadonlyMap<number, number> = new Map([
  [ErrorCode.REFUSED_STREAM, Status.UNAVAILABLE],
  [ErrorCode.CANCEL, Status.CANCELLED],
  [ErrorCode.ENHANCE_YOUR_CALM, Status.RESOURCE_EXHAUSTED],
  [ErrorCode.INADEQUATE_SECURITY, Status.PERMISSION_DENIED],
]);

/** Decodes `grpc-message`: percent-encoded UTF-8; what is not valid stays as it is. */
export function decodeMessage(text: string): string {
  if (!text.includes('%')) return text;
  const octets = Buffer.alloc(text.length);
  let length = 0;
  for (let at = 0; at < text.length; at++) {
    const hex = text[at] === '%' ? text.slice(at + 1, at + 3) : '';
    if (/^[0-9a-fA-F]{2}$/.test(hex)) {
      octets[length++] = parseInt(hex, 16);
      at += 2;
    } else octets[length++] = text.charCodeAt(at);
  }
  return octets.toString('utf8', 0, length);
}

/** Encodes `grpc-message`: everything but printable ASCII, and `%` itself. */
export function encodeMessage(text: string): string {
  if (/^[ -$&-~]*$/.test(text) && text === text.trim()) return text;
  let encoded = '';
  for (const octet of Buffer.from(text, 'utf8')) {
    encoded +=
      octet > 0x20 && octet < 0x7f && octet !== 0x25
        ? String.fromCharCode(octet)
        : `%${octet.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}
