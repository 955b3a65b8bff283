import type { Logins } from './login-storm-verdict.js';
import type { StormReport } from './login-storm.js';
import type { ExpiryReport } from './token-expiry.js';

/** A report for people. */
export function tableOf(report: ExpiryReport): string {
  const rows: [string, string][] = [
    ['target', report.base_url],
    ['story', report.story.replaceAll('_', ' ')],
    [
      'load',
      `${report.clients} client${report.clients === 1 ? '' : 's'} × ${report.batch_size} calls, ${report.concurrency} at once, ${report.rounds} round${report.rounds === 1 ? '' : 's'}`,
    ],
    ['endpoints', report.endpoints.join(', ')],
    ['status_counts', countsOf(report.status_counts)],
    ['calls ended with', countsOf(report.results)],
    [
      'refresh_calls',
      `${report.refresh_calls}${report.refresh_calls === 0 ? '' : ` (${countsOf(report.refresh_status_counts)})`}`,
    ],
    ['blocked_by', countsOf(report.blocked_by)],
    [
      'latency',
      Object.entries(report.latency_ms)
        .map(([name, ms]) => `${name} ${ms} ms`)
        .join('  '),
    ],
    ...(Object.keys(report.failures).length > 0 ? [['5xx', countsOf(report.failures)] as [string, string]] : []),
    ...(Object.keys(report.faults).length > 0 ? [['no answer', countsOf(report.faults)] as [string, string]] : []),
    ...report.continuing_refusals.map(({ source, seconds, refusals }): [string, string] => [
      `after (${source})`,
      `${refusals} refusals in ${seconds} s`,
    ]),
    ['verdict', report.passed ? 'passed' : 'NOT PASSED'],
  ];
  return page('token-expiry', rows, report);
}

/** The same of a login storm. */
export function stormTable(report: StormReport): string {
  const [flooding, other] = report.tenants;
  return page(
    'login-storm',
    [
      ['target', report.base_url],
      ['capacity', `${report.capacity} logins a second in quiet`],
      [
        'storm',
        `${report.clients} clients of ${flooding} for ${report.seconds} s: ${report.sent_per_second} logins a second (${report.wanted_per_second} wanted)`,
      ],
      [flooding, `${loginsOf(report.flooding)}; refused after ${report.refused_after_ms} ms at the most`],
      [`${other}, before`, loginsOf(report.before)],
      [`${other}, meanwhile`, loginsOf(report.other)],
      ['verdict', report.passed ? 'passed' : 'NOT PASSED'],
    ],
    report,
  );
}

function loginsOf({ outcomes, p50_ms, p95_ms }: Logins): string {
  return `${countsOf(outcomes)}  p50 ${p50_ms} ms  p95 ${p95_ms} ms`;
}

function page(
  title: string,
  rows: readonly (readonly [string, string])[],
  { reasons, advice }: { readonly reasons: readonly string[]; readonly advice: readonly string[] },
): string {
  const width = Math.max(18, ...rows.map(([name]) => name.length));
  const lines = rows.map(([name, value]) => `  ${name.padEnd(width)} ${value}`);
  return [title, ...lines, ...reasons.map((each) => `  ✗ ${each}`), ...advice.map((each) => `  → ${each}`), ''].join(
    '\n',
  );
}

function countsOf(counts: Readonly<Record<string, number>>): string {
  const entries = Object.entries(counts);
  return entries.length === 0 ? 'none' : entries.map(([name, count]) => `${name}: ${count}`).join('  ');
}
