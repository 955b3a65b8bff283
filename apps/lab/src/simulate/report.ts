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
  const lines = rows.map(([name, value]) => `  ${name.padEnd(18)} ${value}`);
  const reasons = report.reasons.map((reason) => `  ✗ ${reason}`);
  const advice = report.advice.map((sentence) => `  → ${sentence}`);
  return ['token-expiry', ...lines, ...reasons, ...advice, ''].join('\n');
}

function countsOf(counts: Readonly<Record<string, number>>): string {
  const entries = Object.entries(counts);
  return entries.length === 0 ? 'none' : entries.map(([name, count]) => `${name}: ${count}`).join('  ');
}
