import type { Problem, ProblemCode, ProblemDetails } from '@sluice/problem';

/** What an OAuth endpoint answers in place of a problem document (RFC 6749 section 5.2). */
export interface OAuthError {
  readonly status: number;
  readonly body: {
    readonly error: string;
    readonly error_description?: string;
    /** Of a 429: what blocked, and for how long. Clients of the specification ignore what they do not know. */
    readonly details?: ProblemDetails;
  };
}

/** The errors of the specification, and its statuses: a grant that is not valid is a 400, whatever else made it so. */
const errors: Partial<Readonly<Record<ProblemCode, { error: string; status: number }>>> = {
  INVALID_GRANT: { error: 'invalid_grant', status: 400 },
  INVALID_CREDENTIALS: { error: 'invalid_grant', status: 400 },
  SESSION_REVOKED: { error: 'invalid_grant', status: 400 },
  UNAUTHENTICATED: { error: 'invalid_client', status: 401 },
  PERMISSION_DENIED: { error: 'unauthorized_client', status: 403 },
  INTERNAL: { error: 'server_error', status: 500 },
};

/** Characters that `error_description` may not have: everything but ASCII, and of that the double quote and the backslash. */
const NOT_DESCRIBABLE = /[^\x20\x21\x23-\x5b\x5d-\x7e]/g;

function describe(message: string): string {
  return message.replaceAll('"', "'").replaceAll(NOT_DESCRIBABLE, ' ');
}

/** A service names the error in `details.oauth_error` where its code does not tell. */
export function oauthError(problem: Problem): OAuthError {
  const named = problem.details['oauth_error'];
  const known = errors[problem.code];
  const bare = problem.status === 401 ? 'invalid_token' : 'invalid_request';
  const fallback = problem.status === 429 || problem.status >= 500 ? 'temporarily_unavailable' : bare;
  return {
    status: known?.status ?? problem.status,
    body: {
      error: typeof named === 'string' ? named : (known?.error ?? fallback),
      ...(problem.message && { error_description: describe(problem.message) }),
      ...(problem.status === 429 && { details: problem.details }),
    },
  };
}
