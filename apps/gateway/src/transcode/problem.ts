import { Problem, problemFromStatus, type ProblemCode, type ProblemDetails, toProblem } from '@sluice/problem';
import { TranscodeError, type TranscodeErrorCode } from '@sluice/transcode';
import type { Fields, Outcome } from '@sluice/wire';
import type { Exchange } from '../exchange.js';
import { failureHeaders, failureStatus } from '../upstream/answer-fields.js';
import type { Upstream } from '../upstream/upstream.js';

/** Our code for each fault that transcoding can find. */
const codes: Readonly<Record<TranscodeErrorCode, ProblemCode>> = {
  INVALID_JSON: 'INVALID_JSON',
  UNKNOWN_FIELD: 'INVALID_ARGUMENT',
  INVALID_VALUE: 'INVALID_ARGUMENT',
  DUPLICATE_FIELD: 'INVALID_ARGUMENT',
  MISSING_FIELD: 'INVALID_ARGUMENT',
  INVALID_PATH: 'INVALID_ARGUMENT',
  UNEXPECTED_BODY: 'INVALID_ARGUMENT',
  ITEM_TOO_LARGE: 'PAYLOAD_TOO_LARGE',
  UNSUPPORTED_MEDIA_TYPE: 'UNSUPPORTED_MEDIA_TYPE',
  NOT_ACCEPTABLE: 'NOT_ACCEPTABLE',
  INVALID_MESSAGE: 'INTERNAL',
};

/** What was thrown while a message was read or written, as a problem with the field and the position of the fault. */
export function transcodeProblem(thrown: unknown): Problem {
  if (!(thrown instanceof TranscodeError)) return toProblem(thrown);
  if (thrown.code === 'INVALID_MESSAGE') return new Problem('INTERNAL', '', { cause: thrown });
  const details: Record<string, ProblemDetails[string]> = { reason: thrown.code };
  if (thrown.field !== undefined) details['field'] = thrown.field;
  if (thrown.position) details['position'] = { ...thrown.position };
  return new Problem(codes[thrown.code], thrown.message, { details });
}

const RETRY_WITHOUT_MEMORY_MS = 1000;

/** A refusal because too much is held for clients already. */
export function noMemory(detail: string): Problem {
  return new Problem('OVERLOADED', detail, { details: { retry_after_ms: RETRY_WITHOUT_MEMORY_MS } });
}

const RESOURCE_EXHAUSTED = 8;

/**
 * How an upstream's call ended, as the problem that a REST client is told.
 *
 * @param metadata of the answer's beginning
 */
export function outcomeProblem(outcome: Outcome, metadata: Fields, exchange: Exchange, upstream: Upstream): Problem {
  const { code, message, details, trailers } = outcome;
  return (
    ownFailure(outcome) ??
    timeIsOver(code, exchange.deadline, message) ??
    problemFromStatus(code, message, details, {
      // Without trailers it was not the service that spoke: our own words, with its addresses, are for the log.
      expose: trailers.length === 0 ? 'codes' : upstream.expose.rest,
      printDetail: upstream.printDetail,
      headers: failureHeaders(metadata, trailers, upstream),
      status: failureStatus(metadata, trailers),
    })
  );
}

/** What failed on this side of the call, where that is told otherwise than as its code says. */
export function ownFailure(outcome: Outcome): Problem | undefined {
  if (outcome.overloaded) {
    return new Problem('OVERLOADED', 'The service behind this path has no room for more calls.', {
      details: { retry_after_ms: Math.max(1, Math.ceil(outcome.retryAfterMs ?? 1000)) },
      cause: outcome.message,
    });
  }
  // Without trailers it was this side that refused: an answer larger than `max_message`, which is no limit on the client.
  if (outcome.code === RESOURCE_EXHAUSTED && outcome.trailers.length === 0) {
    return new Problem('INTERNAL', '', { cause: outcome.message });
  }
  return undefined;
}

/** How services end what has taken too long when they do not say so: CANCELLED, UNKNOWN, INTERNAL. */
const endings: ReadonlySet<number> = new Set([1, 2, 13]);

/** A service's clock may be ahead of ours by so much, in milliseconds. */
const CLOCKS_DIFFER_MS = 5;

/** A service that gives up at the deadline may say why in words of its own: what ended the call is the deadline. */
export function timeIsOver(code: number, deadline: number, cause: string): Problem | undefined {
  if (!endings.has(code) || Date.now() < deadline - CLOCKS_DIFFER_MS) return undefined;
  return new Problem('DEADLINE_EXCEEDED', 'the deadline has passed', { cause });
}
