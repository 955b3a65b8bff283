import type { GrpcCodeName } from './grpc-code.js';

interface ProblemKind {
  /** The HTTP status. */
  readonly status: number;
  readonly grpc: GrpcCodeName;
  /** A short text that is the same for every occurrence (RFC 9457 section 3.1.3). */
  readonly title: string;
}

/** Every error code that a client can see. Nothing else makes up a code. */
export const problems = {
  // The request as it arrived.
  MALFORMED_REQUEST: { status: 400, grpc: 'INVALID_ARGUMENT', title: 'Malformed request' },
  AUTHORIZATION_DUPLICATE: { status: 400, grpc: 'INVALID_ARGUMENT', title: 'More than one Authorization header' },
  AUTHORIZATION_MALFORMED: { status: 400, grpc: 'INVALID_ARGUMENT', title: 'Malformed Authorization header' },
  AUTHORITY_MISMATCH: { status: 400, grpc: 'INVALID_ARGUMENT', title: 'Host and :authority differ' },
  TENANT_MISMATCH: { status: 400, grpc: 'INVALID_ARGUMENT', title: 'More than one tenant' },
  INVALID_JSON: { status: 400, grpc: 'INVALID_ARGUMENT', title: 'The body is not valid JSON' },
  INVALID_ARGUMENT: { status: 400, grpc: 'INVALID_ARGUMENT', title: 'Invalid argument' },
  FAILED_PRECONDITION: { status: 400, grpc: 'FAILED_PRECONDITION', title: 'Failed precondition' },
  LINK_INVALID: { status: 400, grpc: 'FAILED_PRECONDITION', title: 'The link was used, replaced, or has expired' },
  OUT_OF_RANGE: { status: 400, grpc: 'OUT_OF_RANGE', title: 'Out of range' },
  REQUEST_TIMEOUT: { status: 408, grpc: 'DEADLINE_EXCEEDED', title: 'The request did not arrive in time' },
  PAYLOAD_TOO_LARGE: { status: 413, grpc: 'RESOURCE_EXHAUSTED', title: 'The body is too large' },
  URI_TOO_LONG: { status: 414, grpc: 'INVALID_ARGUMENT', title: 'The request target is too long' },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, grpc: 'INVALID_ARGUMENT', title: 'Unsupported media type' },
  EXPECTATION_FAILED: { status: 417, grpc: 'INVALID_ARGUMENT', title: 'The expectation cannot be met' },
  MISDIRECTED_REQUEST: { status: 421, grpc: 'UNIMPLEMENTED', title: 'The host is not served here' },
  HEADERS_TOO_LARGE: { status: 431, grpc: 'INVALID_ARGUMENT', title: 'The header fields are too large' },

  // Routing.
  ROUTE_NOT_FOUND: { status: 404, grpc: 'UNIMPLEMENTED', title: 'No such path' },
  METHOD_NOT_ALLOWED: { status: 405, grpc: 'UNIMPLEMENTED', title: 'Method not allowed' },
  NOT_ACCEPTABLE: { status: 406, grpc: 'INVALID_ARGUMENT', title: 'No acceptable representation' },

  // Who is calling.
  UNAUTHENTICATED: { status: 401, grpc: 'UNAUTHENTICATED', title: 'Authentication required' },
  TOKEN_INVALID: { status: 401, grpc: 'UNAUTHENTICATED', title: 'The access token is not valid' },
  TOKEN_EXPIRED: { status: 401, grpc: 'UNAUTHENTICATED', title: 'The access token has expired' },
  SESSION_REVOKED: { status: 401, grpc: 'UNAUTHENTICATED', title: 'The session has ended' },
  KEY_ENDED: { status: 401, grpc: 'UNAUTHENTICATED', title: 'The API key works no more' },
  INVALID_CREDENTIALS: { status: 401, grpc: 'UNAUTHENTICATED', title: 'Wrong e-mail or password' },
  INVALID_GRANT: { status: 401, grpc: 'UNAUTHENTICATED', title: 'The refresh token is not valid' },
  PERMISSION_DENIED: { status: 403, grpc: 'PERMISSION_DENIED', title: 'Permission denied' },
  PASSWORD_CHANGE_REQUIRED: { status: 403, grpc: 'PERMISSION_DENIED', title: 'Another password must be chosen' },
  EMAIL_NOT_VERIFIED: { status: 403, grpc: 'PERMISSION_DENIED', title: 'The e-mail address is not verified' },
  ACCOUNT_CLOSING: { status: 403, grpc: 'PERMISSION_DENIED', title: 'The account is about to be deleted' },
  ORIGIN_REFUSED: { status: 403, grpc: 'PERMISSION_DENIED', title: 'Cross-origin request refused' },

  // Resources.
  NOT_FOUND: { status: 404, grpc: 'NOT_FOUND', title: 'Not found' },
  ALREADY_EXISTS: { status: 409, grpc: 'ALREADY_EXISTS', title: 'Already exists' },
  ABORTED: { status: 409, grpc: 'ABORTED', title: 'Aborted' },
  ALLOCATION_ENDED: { status: 409, grpc: 'FAILED_PRECONDITION', title: 'The allocation has ended' },
  IDEMPOTENCY_MISMATCH: {
    status: 409,
    grpc: 'ALREADY_EXISTS',
    title: 'The request id was used with another payload',
  },

  // May they call now, and is there budget left.
  RATE_LIMIT_EXCEEDED: { status: 429, grpc: 'RESOURCE_EXHAUSTED', title: 'Too many requests' },
  BUDGET_EXHAUSTED: { status: 429, grpc: 'RESOURCE_EXHAUSTED', title: 'No budget left' },
  RESOURCE_EXHAUSTED: { status: 429, grpc: 'RESOURCE_EXHAUSTED', title: 'Resource exhausted' },

  // What went wrong behind the gateway.
  CANCELLED: { status: 499, grpc: 'CANCELLED', title: 'Cancelled' },
  UNKNOWN: { status: 500, grpc: 'UNKNOWN', title: 'Unknown error' },
  INTERNAL: { status: 500, grpc: 'INTERNAL', title: 'Internal error' },
  DATA_LOSS: { status: 500, grpc: 'DATA_LOSS', title: 'Data loss' },
  UNIMPLEMENTED: { status: 501, grpc: 'UNIMPLEMENTED', title: 'Not implemented' },
  HTTP_VERSION_NOT_SUPPORTED: { status: 505, grpc: 'UNIMPLEMENTED', title: 'HTTP version not supported' },
  UNAVAILABLE: { status: 503, grpc: 'UNAVAILABLE', title: 'Unavailable' },
  OVERLOADED: { status: 503, grpc: 'UNAVAILABLE', title: 'Overloaded' },
  DEADLINE_EXCEEDED: { status: 504, grpc: 'DEADLINE_EXCEEDED', title: 'Deadline exceeded' },
} as const satisfies Record<string, ProblemKind>;

export type ProblemCode = keyof typeof problems;

export function isProblemCode(text: string): text is ProblemCode {
  return Object.hasOwn(problems, text);
}

/** What the cause of a refusal was counted against; `details.blocked_by` of a 429. */
export type BlockedBy =
  'user' | 'key' | 'ip' | 'endpoint' | 'tenant' | 'global' | 'budget' | 'caller_tokens' | 'caller_requests' | 'account';

/** A JSON value that goes to the client. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };
export type ProblemDetails = { readonly [key: string]: Json };

export type ProblemHeaders = Readonly<Record<string, string | readonly string[]>>;

interface ProblemOptions {
  /** Members of `details` in the answer. Never secrets, never internals. */
  readonly details?: ProblemDetails;
  /** Logged, never sent. */
  readonly cause?: unknown;
  /** What the service behind us said besides, each a `google.protobuf.Any` as JSON: `details.errors` of the answer. */
  readonly errors?: readonly Json[] | undefined;
  /** Header fields of the HTTP answer, for example `Allow` or `WWW-Authenticate`; names in lower case, a list for a field that comes several times. */
  readonly headers?: ProblemHeaders | undefined;
  /** The HTTP status, where it is not the code's: 400 to 599. */
  readonly status?: number | undefined;
  /** This one object stands for many refusals: what answers it may be kept with it. */
  readonly lasting?: boolean;
}

/**
 * The one error type that becomes an answer. Throw it wherever a call is refused; the edge of each process
 * turns it into `application/problem+json` (RFC 9457) or a gRPC status.
 */
export class Problem extends Error {
  override readonly name = 'Problem';
  readonly code: ProblemCode;
  readonly details: ProblemDetails;
  readonly errors: readonly Json[];
  readonly headers: ProblemHeaders;
  /** The HTTP status. */
  readonly status: number;
  readonly lasting: boolean;
  /** For whoever answers a lasting problem: what it made ready for the next time. */
  prepared: unknown;

  /** @param detail a sentence for the client that names the fault and what to do; may be empty */
  constructor(code: ProblemCode, detail = '', options: ProblemOptions = {}) {
    // Where a refusal came from says nobody anything, and to find it out costs more than the rest of the answer.
    const { stackTraceLimit } = Error;
    if (problems[code].status < 500) Error.stackTraceLimit = 0;
    super(detail, options.cause === undefined ? undefined : { cause: options.cause });
    Error.stackTraceLimit = stackTraceLimit;
    this.code = code;
    this.details = options.details ?? {};
    this.errors = options.errors ?? NO_ERRORS;
    this.headers = options.headers ?? {};
    this.status = options.status ?? problems[code].status;
    this.lasting = options.lasting ?? false;
    this.prepared = undefined;
  }

  get grpc(): GrpcCodeName {
    return problems[this.code].grpc;
  }
}

const NO_ERRORS: readonly Json[] = [];

/** Any thrown value as a problem: a problem stays what it is, everything else is INTERNAL with the value as its cause. */
export function toProblem(thrown: unknown): Problem {
  return thrown instanceof Problem ? thrown : new Problem('INTERNAL', '', { cause: thrown });
}
