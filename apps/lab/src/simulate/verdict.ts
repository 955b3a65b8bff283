import type { ContinuingRefusals } from './gateway-watch.js';
import type { Blocked } from './wire-tap.js';

/** What a verdict is made from. */
export interface Facts {
  readonly story: 'with_refresh_token' | 'without_refresh_token';
  readonly clients: number;
  readonly status_counts: Readonly<Record<string, number>>;
  readonly results: Readonly<Record<string, number>>;
  readonly refresh_calls: number;
  readonly refresh_status_counts: Readonly<Record<string, number>>;
  readonly blocked: readonly Blocked[];
  readonly failures: Readonly<Record<string, number>>;
  readonly faults: Readonly<Record<string, number>>;
  readonly continuing_refusals: readonly ContinuingRefusals[];
}

export interface Verdict {
  readonly passed: boolean;
  /** Share of 429 among all answers, refreshes included. */
  readonly refused_share: number;
  /** Why it did not pass: one sentence each. */
  readonly reasons: readonly string[];
  /** What to change, and what else is worth knowing. */
  readonly advice: readonly string[];
}

const REFUSED_SHARE_MAX = 0.05;

/** Row T1: at most 5 % of the answers are 429, no client refreshes more than once, and nobody is refused after the run. */
export function judge(facts: Facts): Verdict {
  const answers = sum(facts.status_counts) + sum(facts.refresh_status_counts);
  const refused = (facts.status_counts['429'] ?? 0) + (facts.refresh_status_counts['429'] ?? 0);
  const share = answers === 0 ? 0 : refused / answers;
  const reasons: string[] = [];
  const advice: string[] = [];

  if (answers === 0) reasons.push(`nothing answered: ${Object.keys(facts.faults).join(', ') || 'no call was made'}`);
  if (share > REFUSED_SHARE_MAX) {
    reasons.push(`${refused} of ${answers} answers are 429 (${percent(share)}; at most ${percent(REFUSED_SHARE_MAX)})`);
  }
  if (facts.refresh_calls > facts.clients) {
    reasons.push(`${facts.refresh_calls} refreshes; at most ${facts.clients}: one a client`);
    advice.push('Let everything that uses one session share a client, or its store and its lock.');
  }
  for (const blocked of facts.blocked) advice.push(adviceFor(blocked));
  for (const [code, count] of Object.entries(facts.failures)) advice.push(failureAdvice(code, count));
  const missing = facts.results['404'] ?? 0;
  if (missing > 0) {
    advice.push(`${missing} × 404: what was asked for is not there; --endpoints names what is.`);
  }
  for (const { source, seconds, refusals } of facts.continuing_refusals) {
    if (refusals === 0) continue;
    reasons.push(`in ${seconds} s after the run the gateway's ${source} still tell of ${refusals} refusals`);
    advice.push("Somebody goes on asking: the gateway's log says who (`client`, `subject`); let it obey Retry-After.");
  }
  if (facts.continuing_refusals.length === 0) {
    advice.push("Whether refusals go on after the run was not looked at: name the gateway's --metrics or --log.");
  }
  if (facts.story === 'with_refresh_token') advice.push(...refreshTrouble(facts));
  if (answers > 0 && facts.status_counts['401'] === undefined) {
    advice.push('No call met a 401: the token that should have expired was accepted.');
  }
  return { passed: reasons.length === 0, refused_share: share, reasons, advice };
}

/** What an operator can do about each dimension. */
const REMEDIES: Readonly<Record<string, string>> = {
  ip: 'one address stands for many callers: raise the limit for it or, behind a proxy, list the proxy in trusted_proxies',
  user: 'one user makes more calls than the policy allows: spread them, or raise the limit or burst',
  endpoint: 'one method is asked more often than the policy allows by all callers together: raise it or ask less often',
  tenant: 'the tenant as a whole is at its limit: raise it for the tenant, or look for the caller that uses it up',
  global: 'the gateway as a whole is at its limit: raise it, or add capacity behind it first',
  budget: 'no token budget is left: add capacity, or wait for leases to end',
};

function adviceFor({ blocked_by, policy, limit, window_seconds, count, retry_after_ms_max }: Blocked): string {
  const declared = limit === undefined ? '' : ` (${limit} in ${window_seconds} s)`;
  const remedy =
    REMEDIES[blocked_by] ?? 'the answer does not say what refused: look for something in front of the gateway';
  const guard = policy === 'guess-guard' ? '; this policy counts made-up tokens, limits.guess_guard sets it' : '';
  return `${count} × 429 by ${blocked_by}, policy ${policy}${declared}, wait up to ${retry_after_ms_max} ms: ${remedy}${guard}.`;
}

function failureAdvice(code: string, count: number): string {
  const cause =
    code === 'OVERLOADED'
      ? 'the gateway or a service sheds load: more than it can queue came at once; add replicas, or lower CONCURRENCY'
      : 'its trace is in the logs of the gateway and the services';
  return `${count} answers are 5xx, ${code}: ${cause}.`;
}

function refreshTrouble(facts: Facts): string[] {
  const refused = (facts.refresh_status_counts['401'] ?? 0) + (facts.refresh_status_counts['400'] ?? 0);
  if (refused > 0) {
    const how = refused === 1 ? '1 refresh was' : `${refused} refreshes were`;
    return [`${how} refused: the refresh token is not valid (any more).`];
  }
  const failed = facts.results['REFRESH_FAILED'] ?? 0;
  return failed > 0
    ? [`${failed} calls ended because their refresh failed; its answers are in refresh_status_counts.`]
    : [];
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
