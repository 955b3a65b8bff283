import { Problem, type Json, type ProblemDetails } from '@sluice/problem';
import { POLICY_NAME } from '../policy.js';
import type { Decision, Verdict } from '../store.js';

export interface LimitFieldsOptions {
  /** Adds `X-RateLimit-Limit`, `-Remaining` and `-Reset` (seconds from now) of the policy nearest to its limit. */
  readonly legacy?: boolean;
}

export interface LimitProblemOptions extends LimitFieldsOptions {
  /** The problem is kept and used again for refusals that are alike. */
  readonly lasting?: boolean;
}

/**
 * The response header fields that tell a decision; names in lower case.
 *
 * `RateLimit-Policy` and `RateLimit` follow draft-ietf-httpapi-ratelimit-headers-11 sections 3 and 4, `Retry-After`
 * RFC 9110 section 10.2.3. Seconds are rounded up, so that waiting as told succeeds when nobody else draws on the
 * bucket. A refusal lists the refusing policies alone, so that no effective window outlasts `Retry-After` (section 6).
 * Shadow policies are not told.
 */
export function limitFields(decision: Decision, options: LimitFieldsOptions = {}): Record<string, string> {
  const fields: Record<string, string> = {};
  let policies = '';
  let limits = '';
  let nearest: Verdict | undefined;
  for (const verdict of decision.verdicts) {
    if (verdict.shadow) continue;
    policies = policies === '' ? verdict.policy.headerItem : `${policies}, ${verdict.policy.headerItem}`;
    if (nearest === undefined || share(verdict) < share(nearest)) nearest = verdict;
    if (!decision.allowed && !verdict.refused) continue;
    const item = `"${verdict.policy.name}";r=${verdict.remaining};t=${seconds(windowOf(verdict))}`;
    limits = limits === '' ? item : `${limits}, ${item}`;
  }
  if (policies !== '') fields['ratelimit-policy'] = policies;
  if (limits !== '') fields['ratelimit'] = limits;
  if (!decision.allowed) {
    const wait = decision.reason === 'over_limit' ? decision.blockedBy.retryAfterMs : decision.retryAfterMs;
    if (wait !== Infinity) fields['retry-after'] = String(Math.max(1, seconds(wait)));
    if (decision.reason === 'over_limit') nearest = decision.blockedBy;
  }
  if (options.legacy === true && nearest !== undefined) {
    fields['x-ratelimit-limit'] = String(nearest.policy.limit);
    fields['x-ratelimit-remaining'] = String(nearest.remaining);
    fields['x-ratelimit-reset'] = String(seconds(windowOf(nearest)));
  }
  return fields;
}

/**
 * A refusal as the error that the caller gets: 429 `RATE_LIMIT_EXCEEDED` with what blocked, or 503 `UNAVAILABLE` when
 * the limits could not be asked and a policy is declared `closed`. It carries the fields of {@link limitFields}.
 */
export function limitProblem(decision: Decision & { allowed: false }, options: LimitProblemOptions = {}): Problem {
  const headers = limitFields(decision, options);
  const lasting = options.lasting ?? false;
  if (decision.reason === 'store_lost') {
    return new Problem('UNAVAILABLE', 'The limits of this call cannot be checked at present.', {
      details: { policy: decision.policy.name, retry_after_ms: Math.ceil(decision.retryAfterMs) },
      headers,
      lasting,
    });
  }
  const { blockedBy } = decision;
  const others = decision.verdicts.filter((verdict) => verdict.refused && !verdict.shadow && verdict !== blockedBy);
  const { limit, windowMs } = blockedBy.policy;
  const wait =
    blockedBy.retryAfterMs === Infinity
      ? 'This call needs more than the policy ever allows at once.'
      : `Try again in ${Math.max(1, seconds(blockedBy.retryAfterMs))} s.`;
  return new Problem(
    'RATE_LIMIT_EXCEEDED',
    `Policy ${blockedBy.policy.name} allows ${limit} in ${windowMs / 1000} s for each ${blockedBy.policy.dimensions.join(' and ')}. ${wait}`,
    {
      details: { ...detailsOf(blockedBy), ...(others.length > 0 && { others: others.map(detailsOf) }) },
      headers,
      lasting,
    },
  );
}

/**
 * The fields of {@link limitFields} but for `Retry-After` for a refusal that another service decided, from the details of its
 * problem; none when they do not name a policy with its limit, window and wait.
 */
export function refusalFields(details: ProblemDetails, options: LimitFieldsOptions = {}): Record<string, string> {
  const { policy, limit, window_seconds: window, retry_after_ms: waitMs } = details;
  if (typeof policy !== 'string' || !POLICY_NAME.test(policy)) return {};
  if (!isPositive(limit) || !isPositive(window) || !isPositive(waitMs)) return {};
  const wait = seconds(waitMs);
  return {
    'ratelimit-policy': `"${policy}";q=${Math.floor(limit)};w=${Math.ceil(window)}`,
    ratelimit: `"${policy}";r=0;t=${wait}`,
    ...(options.legacy === true && {
      'x-ratelimit-limit': String(Math.floor(limit)),
      'x-ratelimit-remaining': '0',
      'x-ratelimit-reset': String(wait),
    }),
  };
}

const isPositive = (value: unknown): value is number => typeof value === 'number' && value > 0 && value < 1e15;

function detailsOf({ policy, retryAfterMs }: Verdict): { [key: string]: Json } {
  return {
    blocked_by: policy.blockedBy,
    policy: policy.name,
    limit: policy.limit,
    window_seconds: policy.windowMs / 1000,
    ...(retryAfterMs !== Infinity && { retry_after_ms: Math.ceil(retryAfterMs) }),
  };
}

const seconds = (ms: number) => Math.ceil(ms / 1000);
const share = ({ remaining, policy }: Verdict) => remaining / policy.capacity;

/** The effective window (section 4.1.2); a bucket that nothing was taken from has its whole window. */
function windowOf(verdict: Verdict): number {
  if (verdict.refused && verdict.retryAfterMs !== Infinity) return verdict.retryAfterMs;
  return verdict.resetMs > 0 ? verdict.resetMs : verdict.policy.windowMs;
}
