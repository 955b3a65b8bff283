/** What a server says of a refusal (RFC 9457), and what the client adds. */
export interface SluiceErrorOptions {
  /** The HTTP status; 0 when there was no answer. */
  readonly status?: number;
  readonly details?: Readonly<Record<string, unknown>>;
  readonly retryAfterMs?: number;
  readonly traceId?: string;
  readonly cause?: unknown;
}

/**
 * A call that did not succeed. `code` is one of the server's problem codes, or of the client's own:
 * - `REFRESH_FAILED`: the tokens could not be refreshed now (network, overload); the session is kept, try again later;
 * - `LOCK_TIMEOUT`: somebody who shares the store keeps the lock; the session is kept;
 * - `GUEST_NOT_ALLOWED`: no guest token may be asked for now; `details.reason` says why;
 * - `STREAM_INCOMPLETE`: a stream broke off before its end;
 * - `UNEXPECTED_ANSWER`: the answer is not one of Sluice's.
 */
export class SluiceError extends Error {
  override readonly name = 'SluiceError';
  readonly status: number;
  readonly details: Readonly<Record<string, unknown>>;
  /** How long to wait before trying again, when that was said. */
  readonly retryAfterMs: number | undefined;
  /** Names the call in the server's logs. */
  readonly traceId: string | undefined;

  constructor(
    readonly code: string,
    message: string,
    options: SluiceErrorOptions = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.status = options.status ?? 0;
    this.details = options.details ?? {};
    this.retryAfterMs = options.retryAfterMs;
    this.traceId = options.traceId;
  }

  /** What a 429 was counted against: `user`, `ip`, `endpoint`, `tenant`, `global` or `budget`. */
  get blockedBy(): string | undefined {
    const { blocked_by: blockedBy } = this.details;
    return typeof blockedBy === 'string' ? blockedBy : undefined;
  }
}

interface ProblemDocument {
  readonly title?: string;
  readonly detail?: string;
  readonly code?: string;
  readonly status?: number;
  readonly details?: Record<string, unknown>;
  readonly trace_id?: string;
}

/** The error that a response which is not 2xx stands for. Reads its body. */
export async function errorOf(response: Response): Promise<SluiceError> {
  const text = await response.text().catch(() => '');
  let document: ProblemDocument | undefined;
  try {
    document = JSON.parse(text) as ProblemDocument;
  } catch {
    // Something between client and gateway answered by itself.
  }
  return problemError(document, response.status, retryAfterMs(response, document));
}

/** @param status what the transport said, when the document does not */
export function problemError(document: ProblemDocument | undefined, status: number, wait?: number): SluiceError {
  if (typeof document?.code !== 'string') {
    return new SluiceError('UNEXPECTED_ANSWER', `the server answered ${status}`, { status, retryAfterMs: wait });
  }
  const { code, title, detail, details, trace_id: traceId } = document;
  return new SluiceError(code, detail || title || code, {
    status: document.status ?? status,
    ...(details && { details }),
    ...(wait !== undefined && { retryAfterMs: wait }),
    ...(traceId !== undefined && { traceId }),
  });
}

/**
 * How long a response says to wait, in milliseconds: the problem's exact figure when its document is given, else
 * `Retry-After` as seconds or a date (RFC 9110 section 10.2.3).
 */
export function retryAfterMs(response: Response, document?: ProblemDocument): number | undefined {
  const exact = document?.details?.['retry_after_ms'];
  if (typeof exact === 'number') return exact;
  const field = response.headers.get('retry-after');
  if (field === null) return undefined;
  if (/^\d+$/.test(field)) return Number(field) * 1000;
  const date = Date.parse(field);
  if (Number.isNaN(date)) return undefined;
  // By the server's clock, when it says what that shows: this machine's may be wrong.
  const now = Date.parse(response.headers.get('date') ?? '');
  return Math.max(0, date - (Number.isNaN(now) ? Date.now() : now));
}
