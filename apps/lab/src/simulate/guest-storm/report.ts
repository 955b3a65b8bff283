import type { GuestStormOptions } from './options.js';
import { STORY } from './story.js';
import type { Asked, OccasionOutcome } from './worker.js';

/** What came of a guest storm; printed as JSON as it is. */
export interface GuestStormReport {
  readonly scenario: 'guest-storm';
  readonly base_url: string;
  readonly processes: number;
  /** Moments at which a program without the client asks. */
  readonly occasions: number;
  readonly causes: Readonly<Record<string, number>>;
  /** With the client: new tokens, and requests for one. */
  readonly acquisitions: number;
  readonly requests: number;
  /** Occasions that became no new token, by what avoided it: see {@link REASONS}. */
  readonly avoided_by: Readonly<Record<string, number>>;
  /** The same occasions by a program that keeps nothing; absent with --no-compare. */
  readonly without_client?: {
    readonly requests: number;
    readonly acquisitions: number;
    readonly refused_by: Readonly<Record<string, number>>;
  };
  readonly passed: boolean;
  readonly reasons: readonly string[];
}

/** An hour has fewer new tokens than this. */
const ACQUISITIONS_MAX = 10;

/** What avoided a new token, in words. */
const REASONS: Readonly<Record<string, string>> = {
  live_token: 'the token that was kept is alive',
  shared_store: 'another process was getting one: shared by lock and store',
  returned: 'the server returned the live token of the device',
  interval: 'the client: too soon after the last one',
  hour: 'the client: its share of the hour',
  day: 'the client: its share of the day',
  back_off: 'the client: backing off after a failure',
};

export function judgeGuestStorm({
  options,
  outcomes,
  naive,
}: {
  options: Pick<GuestStormOptions, 'apiUrl' | 'processes'>;
  outcomes: readonly OccasionOutcome[];
  naive: readonly Asked[] | undefined;
}): GuestStormReport {
  const occasions = STORY.reduce((sum, burst) => sum + burst.occasions.length, 0);
  const seen = new Set<string>();
  const avoided: string[] = [];
  for (const { asked, by } of outcomes) {
    const answer = asked.find(({ status }) => status === 200);
    if (by !== 'asked') avoided.push(refusalOf(asked) ?? by);
    else if (answer !== undefined && seen.has(answer.sessionId)) avoided.push('returned');
    else if (answer !== undefined) seen.add(answer.sessionId);
  }
  const requests = outcomes.flatMap(({ asked }) => asked);
  const refused = requests.filter(({ status }) => status === 429).length;
  const accounted = seen.size + avoided.length;
  const reasons = [
    seen.size === 0 && 'no token was issued at all',
    seen.size >= ACQUISITIONS_MAX && `${seen.size} new tokens; fewer than ${ACQUISITIONS_MAX} an hour were expected`,
    refused > 0 && `the server refused ${refused} requests: the client asked where it should have waited`,
    accounted !== occasions && `${accounted} of ${occasions} occasions are accounted for`,
    ...Object.entries(countsOf(avoided))
      .filter(([by]) => !(by in REASONS) && !by.startsWith('refused'))
      .map(([by, count]) => `${count} occasions ended with ${by}`),
  ].filter((reason) => reason !== false);
  return {
    scenario: 'guest-storm',
    base_url: options.apiUrl,
    processes: options.processes,
    occasions,
    causes: countsOf(outcomes.map(({ occasion }) => occasion.cause)),
    acquisitions: seen.size,
    requests: requests.length,
    avoided_by: countsOf(avoided),
    ...(naive && {
      without_client: {
        requests: naive.length,
        acquisitions: naive.filter(({ status }) => status === 200).length,
        refused_by: countsOf(naive.filter(({ status }) => status !== 200).map((one) => one.policy || `${one.status}`)),
      },
    }),
    passed: reasons.length === 0,
    reasons,
  };
}

function refusalOf(asked: readonly Asked[]): string | undefined {
  const refusal = asked.find(({ status }) => status === 429);
  return refusal && `refused: ${refusal.policy}`;
}

/** How often each is there, the most frequent first. */
function countsOf(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return Object.fromEntries(Object.entries(counts).toSorted(([, a], [, b]) => b - a));
}

/** A report for people. */
export function guestStormTable(report: GuestStormReport): string {
  const percent = (count: number) => `${((100 * count) / report.occasions).toFixed(1)} %`;
  const tokens = (count: number) => `${count} new token${count === 1 ? '' : 's'}`;
  const list = (counts: Readonly<Record<string, number>>) =>
    Object.entries(counts)
      .map(([name, count]) => `${name}: ${count} (${percent(count)})`)
      .join('  ') || 'none';
  const rows: [string, string][] = [
    ['target', report.base_url],
    ['occasions', `${report.occasions}, by ${report.processes} processes at once`],
    ['causes', list(report.causes)],
  ];
  const { without_client: without } = report;
  if (without) {
    rows.push(['without the client', `${without.requests} requests, ${tokens(without.acquisitions)}`]);
    rows.push(['  refused by', list(without.refused_by)]);
  }
  rows.push(['with the client', `${report.requests} requests, ${tokens(report.acquisitions)}`]);
  for (const [by, count] of Object.entries(report.avoided_by)) {
    rows.push([`  avoided ${count}`, `${REASONS[by] ?? by} (${by})`]);
  }
  rows.push(['verdict', report.passed ? 'passed' : 'NOT PASSED']);
  const lines = rows.map(([name, value]) => `  ${name.padEnd(18)} ${value}`);
  return ['guest-storm', ...lines, ...report.reasons.map((reason) => `  ✗ ${reason}`), ''].join('\n');
}
