import type { Answer } from './transport.js';

/** How a call ended, as the report counts it. */
export type Outcome =
  | { readonly kind: 'ok' }
  /** 429: by which dimension, and how long to wait. */
  | { readonly kind: 'refused'; readonly blockedBy: string; readonly retryAfterMs: number }
  /** Anything else; the cause is a status with its code, or the fault of the connection, the detail what the server said. */
  | { readonly kind: 'failed'; readonly cause: string; readonly detail?: string };

const ok: Outcome = { kind: 'ok' };

/** The members of a problem (RFC 9457) that matter here. */
interface ProblemBody {
  readonly status?: unknown;
  readonly code?: unknown;
  readonly detail?: unknown;
  readonly error?: unknown;
  readonly details?: { readonly blocked_by?: unknown; readonly retry_after_ms?: unknown };
}

export function outcomeOf(answer: Answer): Outcome {
  if (answer.status === 0) return { kind: 'failed', cause: answer.fault ?? 'no answer' };
  if (answer.status >= 200 && answer.status < 300) return ok;
  return outcomeOfProblem(answer.status, parse(answer.body), answer.retryAfterMs);
}

/**
 * The outcome of a stream of JSON lines: it fails when its last line is an error, although the status was 200 by then.
 */
export function outcomeOfStream(answer: Answer): Outcome {
  const outcome = outcomeOf(answer);
  if (outcome.kind !== 'ok') return outcome;
  const line = answer.body.trimEnd().split('\n').at(-1) ?? '';
  if (line === '') return { kind: 'failed', cause: '200 without a line' };
  const last = parse(line);
  const problem = isObject(last.error) ? (last.error as ProblemBody) : last;
  const status = typeof problem.status === 'number' ? problem.status : isObject(last.error) ? 500 : 0;
  return status >= 400 ? outcomeOfProblem(status, problem, 0) : ok;
}

function outcomeOfProblem(status: number, problem: ProblemBody, retryAfterMs: number): Outcome {
  if (status !== 429) {
    const cause = typeof problem.code === 'string' ? `${status} ${problem.code}` : String(status);
    return typeof problem.detail === 'string'
      ? { kind: 'failed', cause, detail: problem.detail }
      : { kind: 'failed', cause };
  }
  const { blocked_by, retry_after_ms } = problem.details ?? {};
  return {
    kind: 'refused',
    blockedBy: typeof blocked_by === 'string' ? blocked_by : 'unnamed',
    retryAfterMs: Math.max(retryAfterMs, typeof retry_after_ms === 'number' ? retry_after_ms : 0),
  };
}

/** The JSON of a body as an object; an empty one when it is anything else. */
export function parse(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
