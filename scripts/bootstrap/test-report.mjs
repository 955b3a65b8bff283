import { existsSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';

/**
 * Counts the tests of a Vitest JSON report.
 *
 * A file that could not be loaded, a missing report, and a run that failed although every test passed (an unhandled error) count as one failed each.
 *
 * @returns `{ passed, failed, skipped }`; `skipped` names each test, its describe blocks (which say why) and its file
 */
export function countTests(reportFile, succeeded, root) {
  if (!existsSync(reportFile)) return { passed: 0, failed: succeeded ? 0 : 1, skipped: [] };
  const { testResults } = JSON.parse(readFileSync(reportFile, 'utf8'));
  let passed = 0;
  let failed = 0;
  const skipped = [];
  for (const { name, status, assertionResults } of testResults) {
    const before = failed;
    for (const test of assertionResults) {
      if (test.status === 'passed') passed++;
      else if (test.status === 'failed') failed++;
      else skipped.push(`${[...test.ancestorTitles, test.title].join(' > ')} (${relative(root, name)})`);
    }
    if (status === 'failed' && failed === before) failed++;
  }
  if (!succeeded && failed === 0) failed = 1;
  return { passed, failed, skipped };
}
