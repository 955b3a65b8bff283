import { expect, it } from 'vitest';
import { junitOf, markdownOf } from './for-machines.js';
import type { Report } from './report.js';

const report = {
  scenario: { name: 'light_load', title: 'A quiet day' },
  configuration: { server: 'http://127.0.0.1:8083' },
  started_at: '2026-11-30T12:00:00.000Z',
  elapsed_ms: 1234,
  interrupted: false,
  passed: false,
  calls: { sent: 100, success_share: 0.5, refused_share: 0.25, per_second: 81.04 },
  latency: { corrected: { mean: 3, p95: 5, p99: 7 } },
  sessions: { most: 12 },
  thresholds: [
    { name: 'successful calls', limit: 'at least 99.0 %', actual: '50.0 %', passed: false },
    { name: 'latency <p95> & "more"\u0001', limit: 'below 5 | 6 ms', actual: '5.0 ms', passed: true },
  ],
  advice: [{ text: 'Look at the gateway.', figures: '50 of 100' }],
} as unknown as Report;
const comparisons = [{ name: 'p95', before: '1 ms', now: '9 ms', worse: 8, regressed: true }];

it('JUnit: each threshold and each figure beside the baseline is a test case, and the text is XML', () => {
  const xml = junitOf(report, comparisons);
  expect(xml).toContain('<testsuite name="light_load" tests="3" failures="2" errors="0" skipped="0" time="1.234"');
  expect(xml).toContain(
    '<testcase classname="light_load" name="successful calls" time="0">\n      <failure message="50.0 % (at least 99.0 %)"/>',
  );
  expect(xml).toContain('name="latency &#60;p95&#62; &#38; &#34;more&#34;?" time="0"/>');
  expect(xml).toContain('name="p95, beside the baseline" time="0">\n      <failure message="9 ms, was 1 ms"/>');
});

it('Markdown: a summary, a table that no text breaks, and the advice', () => {
  const text = markdownOf(report, comparisons);
  expect(text).toContain('## light_load: thresholds missed');
  expect(text).toContain('100 calls (81.0/s), 50.0 % succeeded, 25.0 % refused; latency mean 3.0 ms');
  expect(text).toContain('| successful calls | 50.0 % (at least 99.0 %) | **missed** |');
  expect(text).toContain('5.0 ms (below 5 \\| 6 ms) | passed |');
  expect(text).toContain('- Look at the gateway. (50 of 100)');
});
