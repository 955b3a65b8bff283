import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { countTests } from './test-report.mjs';

const folder = mkdtempSync(join(tmpdir(), 'sluice-report-'));
afterAll(() => rmSync(folder, { recursive: true }));

function report(testResults) {
  const file = join(folder, 'report.json');
  writeFileSync(file, JSON.stringify({ testResults }));
  return file;
}
const result = (status, title) => ({ status, title, ancestorTitles: ['redis (no redis-server on PATH)'] });

test('passed, failed and skipped are counted; skipped ones are named with their reason', () => {
  const file = report([
    { name: '/p/a.test.ts', status: 'failed', assertionResults: [result('passed', 'a'), result('failed', 'b')] },
    { name: '/p/b.test.ts', status: 'passed', assertionResults: [result('skipped', 'c'), result('pending', 'd')] },
  ]);
  expect(countTests(file, false, '/p')).toEqual({
    passed: 1,
    failed: 1,
    skipped: ['redis (no redis-server on PATH) > c (b.test.ts)', 'redis (no redis-server on PATH) > d (b.test.ts)'],
  });
});

test('a file that could not be loaded counts as failed', () => {
  const file = report([{ name: '/p/a.test.ts', status: 'failed', assertionResults: [] }]);
  expect(countTests(file, false, '/p')).toEqual({ passed: 0, failed: 1, skipped: [] });
});

test('an unhandled error fails a run whose tests all passed', () => {
  const file = report([{ name: '/p/a.test.ts', status: 'passed', assertionResults: [result('passed', 'a')] }]);
  expect(countTests(file, false, '/p')).toMatchObject({ passed: 1, failed: 1 });
});

test('a run that wrote no report failed, unless it had nothing to run', () => {
  expect(countTests(join(folder, 'none.json'), false, '/p')).toMatchObject({ failed: 1 });
  expect(countTests(join(folder, 'none.json'), true, '/p')).toMatchObject({ failed: 0 });
});
