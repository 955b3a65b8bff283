import type { Comparison } from './baseline.js';
import type { Report } from './report.js';
import { ms, percent } from './thresholds.js';

/** What was judged, one row each. */
function judgements(report: Report, comparisons: readonly Comparison[]) {
  return [
    ...report.thresholds.map(({ name, limit, actual, passed }) => ({ name, passed, text: `${actual} (${limit})` })),
    ...comparisons.map(({ name, before, now, regressed }) => ({
      name: `${name}, beside the baseline`,
      passed: !regressed,
      text: `${now}, was ${before}`,
    })),
  ];
}

/** JUnit XML, as the pipelines of GitHub, GitLab and Jenkins read it: each threshold is a test case. */
export function junitOf(report: Report, comparisons: readonly Comparison[]): string {
  const rows = judgements(report, comparisons);
  const failures = rows.filter(({ passed }) => !passed).length;
  const seconds = (report.elapsed_ms / 1000).toFixed(3);
  const suite = `name="${xml(report.scenario.name)}" tests="${rows.length}" failures="${failures}"`;
  const cases = rows.map(({ name, passed, text }) => {
    const head = `    <testcase classname="${xml(report.scenario.name)}" name="${xml(name)}" time="0"`;
    return passed ? `${head}/>` : `${head}>\n      <failure message="${xml(text)}"/>\n    </testcase>`;
  });
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<testsuites>',
    `  <testsuite ${suite} errors="0" skipped="0" time="${seconds}" timestamp="${xml(report.started_at)}">`,
    ...cases,
    '  </testsuite>',
    '</testsuites>',
    '',
  ].join('\n');
}

/** Markdown for a pipeline's summary or a pull request. */
export function markdownOf(report: Report, comparisons: readonly Comparison[]): string {
  const { scenario, calls, latency, sessions } = report;
  const rows = judgements(report, comparisons).map(
    ({ name, passed, text }) => `| ${cell(name)} | ${cell(text)} | ${passed ? 'passed' : '**missed**'} |`,
  );
  const advice = report.advice.map(({ text, figures }) => `- ${text} (${figures})`);
  return [
    `## ${scenario.name}: ${report.passed ? 'passed' : 'thresholds missed'}`,
    '',
    `${scenario.title}. ${report.started_at} against ${report.configuration.server}${report.interrupted ? ', interrupted' : ''}.`,
    '',
    `${calls.sent} calls (${calls.per_second.toFixed(1)}/s), ${percent(calls.success_share)} succeeded, ${percent(calls.refused_share)} refused; ` +
      `latency mean ${ms(latency.corrected.mean)}, p95 ${ms(latency.corrected.p95)}, p99 ${ms(latency.corrected.p99)}; at most ${sessions.most} sessions at once.`,
    '',
    '| threshold | actual | verdict |',
    '| --- | --- | --- |',
    ...rows,
    '',
    ...advice,
    ...(advice.length > 0 ? [''] : []),
  ].join('\n');
}

function xml(text: string): string {
  return (
    text
      .replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)
      // Not in XML 1.0, even as a reference.
      .replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd]/g, '?')
  );
}

function cell(text: string): string {
  return text.replace(/\|/g, '\\|').replace(/\s+/g, ' ');
}
