import { grpcCodes } from './grpc-code.js';
import { problems, type Json, type Problem, type ProblemCode, type ProblemDetails } from './problems.js';

/** `application/problem+json` (RFC 9457 section 3.1) with the members `code`, `grpc_status`, `details` and `trace_id`. */
export interface ProblemDocument {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: ProblemCode;
  readonly detail?: string;
  readonly grpc_status: string;
  readonly details?: ProblemDetails;
  readonly trace_id?: string;
}

export const problemContentType = 'application/problem+json';

const types = Object.fromEntries(
  Object.keys(problems).map((code) => [code, `https://sluice.dev/problems/${code.toLowerCase().replaceAll('_', '-')}`]),
) as Readonly<Record<ProblemCode, string>>;

export function toProblemDocument(problem: Problem, traceId?: string): ProblemDocument {
  const { errors } = problem;
  const details = errors.length > 0 ? { ...problem.details, errors } : problem.details;
  return {
    type: types[problem.code],
    title: problems[problem.code].title,
    status: problem.status,
    code: problem.code,
    ...(problem.message && { detail: problem.message }),
    grpc_status: problem.grpc,
    ...(Object.keys(details).length > 0 && { details }),
    ...(traceId && { trace_id: traceId }),
  };
}

/**
 * The `google.rpc.Status` JSON that other gateways answer with (`errors.format: status`). What the service said stands as it said
 * it; only what comes without details gets an ErrorInfo of ours.
 */
export function toStatusDocument(problem: Problem): object {
  return {
    code: grpcCodes[problem.grpc].number,
    message: problem.message || problems[problem.code].title,
    details: problem.errors.length > 0 ? problem.errors : [errorInfo(problem)],
  };
}

/** A problem's code and details as the JSON of a `google.rpc.ErrorInfo`. */
export function errorInfo(problem: Pick<Problem, 'code' | 'details'>): Json {
  return {
    '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
    reason: problem.code,
    domain: 'sluice.dev',
    metadata: Object.fromEntries(
      Object.entries(problem.details)
        .filter(([, value]) => typeof value !== 'object')
        .map(([key, value]) => [key, String(value)]),
    ),
  };
}
