import { type Problem, problemContentType, toProblemDocument, toStatusDocument } from '@sluice/problem';
import type { Field } from '@sluice/wire';
import type { GatewayConfig } from '../config/schema.js';

/** The fields that a problem brings along, in every form of answer. */
export function problemFields({ headers, details }: Problem): Field[] {
  const fields: Field[] = Object.entries(headers);
  const retryAfterMs = details['retry_after_ms'];
  if (typeof retryAfterMs === 'number' && !('retry-after' in headers)) {
    fields.push(['retry-after', String(Math.max(1, Math.ceil(retryAfterMs / 1000)))]);
  }
  return fields;
}

/** A problem as REST clients read it. */
export interface RestProblem {
  readonly status: number;
  /** JSON. */
  readonly text: string;
  readonly contentType: string;
}

/** `application/problem+json`, or `google.rpc.Status` where the configuration says so. */
export function restProblem({ errors }: GatewayConfig, problem: Problem, traceId: string | undefined): RestProblem {
  const asStatus = errors.format === 'status';
  return {
    status: problem.status,
    text: JSON.stringify(asStatus ? toStatusDocument(problem) : toProblemDocument(problem, traceId)),
    contentType: asStatus ? 'application/json' : problemContentType,
  };
}
