import { type Problem, problemContentType, toProblemDocument, toStatusDocument } from '@sluice/problem';
import type { Field } from '@sluice/wire';
import type { GatewayConfig } from '../config/schema.js';

/** What a 401 has to say (RFC 9110 section 15.5.2) when nobody said better; no browser asks its user for it, as it would for Basic. */
const CHALLENGE: Field = ['www-authenticate', 'Bearer realm="sluice"'];

/** The fields that a problem brings along, in every form of answer. */
export function problemFields({ headers, details, status }: Problem): Field[] {
  const fields = Object.entries(headers).flatMap(([name, values]): Field[] =>
    typeof values === 'string' ? [[name, values]] : values.map((value): Field => [name, value]),
  );
  const retryAfterMs = details['retry_after_ms'];
  if (typeof retryAfterMs === 'number' && !('retry-after' in headers)) {
    fields.push(['retry-after', String(Math.max(1, Math.ceil(retryAfterMs / 1000)))]);
  }
  // What official clients of model APIs take for an order not to try again.
  if (details['should_retry'] === false) fields.push(['x-should-retry', 'false']);
  if (status === 401 && !('www-authenticate' in headers)) fields.push(CHALLENGE);
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
