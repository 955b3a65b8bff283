import { JUDGED_FROM_MS } from '../load/leak.js';
import type { Report } from './report.js';

export interface ThresholdResult {
  readonly name: string;
  readonly limit: string;
  readonly actual: string;
  readonly passed: boolean;
}

/** What is judged, before the judgement. */
export type Findings = Omit<Report, 'thresholds' | 'advice' | 'passed'>;

export const percent = (share: number) => `${(share * 100).toFixed(share > 0.99 && share < 1 ? 2 : 1)} %`;
export const ms = (value: number) => `${value >= 100 ? Math.round(value) : value.toFixed(1)} ms`;
export const megabytes = (bytes: number) => `${(bytes / 1_048_576).toFixed(1)} MB`;

/** Each threshold of the scenario with what the run came to. A run in which nothing was answered passes none. */
export function judge(findings: Findings): ThresholdResult[] {
  const { thresholds } = findings.scenario;
  const { calls, latency, sessions } = findings;
  const answered = calls.ok + calls.refused + calls.failed > 0;
  const row = (name: string, limit: string, actual: string, passed: boolean): ThresholdResult => ({
    name,
    limit,
    actual,
    passed: answered && passed,
  });
  const rows = [
    row(
      'successful calls',
      `at least ${percent(thresholds.success_min)}`,
      percent(calls.success_share),
      calls.success_share >= thresholds.success_min,
    ),
    row(
      'refused calls (429)',
      `at most ${percent(thresholds.refused_max)}`,
      percent(calls.refused_share),
      calls.refused_share <= thresholds.refused_max,
    ),
    row(
      'planned calls that were sent',
      `at least ${percent(thresholds.sent_min)}`,
      percent(calls.sent_share),
      calls.sent_share >= thresholds.sent_min,
    ),
    row(
      'latency, 95th percentile',
      `below ${ms(thresholds.p95_ms_max)}`,
      ms(latency.corrected.p95),
      latency.corrected.p95 < thresholds.p95_ms_max,
    ),
    row(
      'latency, 99th percentile',
      `below ${ms(thresholds.p99_ms_max)}`,
      ms(latency.corrected.p99),
      latency.corrected.p99 < thresholds.p99_ms_max,
    ),
    row(
      'sessions created',
      `at least ${thresholds.create_per_second_min}/s`,
      `${sessions.create_per_second.toFixed(2)}/s`,
      sessions.create_per_second >= thresholds.create_per_second_min,
    ),
  ];
  rows.push(...recovery(findings));
  const { leak_check, minutes } = findings.scenario;
  // A run that is to be short cannot tell a leak from caches that fill.
  const judgesMemory = leak_check && (minutes * 60_000) / findings.configuration.time_scale >= JUDGED_FROM_MS;
  return judgesMemory ? [...rows, ...leaks(findings)] : rows;
}

function recovery({ recovery: found, scenario }: Findings): ThresholdResult[] {
  const mostSeconds = scenario.thresholds.recovery_seconds_max;
  if (mostSeconds === undefined) return [];
  const after = found?.recovered_after_ms;
  const faults = Object.entries(found?.refusals ?? {}).map(([name, count]) => `${count} × ${name}`);
  const actual =
    after === undefined ? `not in ${((found?.looked_ms ?? 0) / 1000).toFixed(1)} s` : `${(after / 1000).toFixed(1)} s`;
  return [
    {
      name: 'latency and refusals as before the load',
      limit: `within ${mostSeconds} s after it`,
      actual: [actual, ...faults].join(', '),
      passed: after !== undefined && after <= mostSeconds * 1000,
    },
  ];
}

function leaks(findings: Findings): ThresholdResult[] {
  if (findings.memory.length === 0) {
    return [
      { name: 'memory of the services', limit: 'does not grow', actual: 'no service was watched', passed: false },
    ];
  }
  return findings.memory.map(({ service, leak }) => ({
    name: `memory of ${service}`,
    limit: 'does not grow',
    actual:
      leak.verdict === 'unknown'
        ? 'too few readings'
        : `${megabytes(leak.bytesPerHour)} an hour (95 % interval ${megabytes(leak.bytesPerHourLow)} to ${megabytes(leak.bytesPerHourHigh)}), ${leak.verdict}`,
    passed: leak.verdict === 'steady',
  }));
}
