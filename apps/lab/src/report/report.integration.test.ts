import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startSmallGateway } from '../../test-support/small-gateway.js';
import { load } from '../load/command.js';
import { compare, readBaseline } from './baseline.js';
import { page } from './page.js';
import type { Report } from './report.js';

/** No tenant of its own: the small gateway has no administrator, and a copy of `npm start` in this folder may have one. */
const shared = ['--tenants', 'default'];

const browsers = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const browser = process.env['CHROMIUM_PATH'] ?? browsers.find(existsSync);

const folder = mkdtempSync(join(tmpdir(), 'sluice-report-'));
let report: Report;

/** A report with everything that a page can show: refusals of a hostile name, failures, growing memory, a comparison. */
function crowded(): Report {
  const hour = 3_600_000;
  const samples = [0, 0.5, 1].map((at) => ({ atMs: at * report.elapsed_ms, bytes: (100 + at * 50) * 1_048_576 }));
  const leak = { bytesPerHour: 5e7, bytesPerHourLow: 4e7, bytesPerHourHigh: 6e7, meanBytes: 1e8, blocks: 20 };
  return {
    ...report,
    elapsed_ms: Math.max(report.elapsed_ms, 1),
    refused_by: { ip: 12, '<script>document.title = "taken"</script>': 3 },
    failures: { 'message: 503 UNAVAILABLE': 4 },
    failure_details: { 'message: 503 UNAVAILABLE': '<b>The service</b> is away.' },
    memory: [{ service: 'gateway', samples, leak: { ...leak, verdict: 'grows' } }],
    generator: { ...report.generator, clouded: ['the generator used up to 97 % of a core'] },
    advice: [{ text: 'Look at the gateway.', figures: `${hour} ms` }],
    passed: false,
  };
}

beforeAll(async () => {
  const gateway = await startSmallGateway();
  const args = ['light_load', '--sessions', '20', '-s', gateway.url, '--time-scale', '300', '-o', folder, ...shared];
  await load([...args, '--watch', `gateway=${gateway.url}/metrics`]);
  await gateway.close();
  report = JSON.parse(readFileSync(join(folder, 'report.json'), 'utf8')) as Report;
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the command', () => {
  it('writes report.json and report.html', () => {
    expect(report.format).toBe('sluice-load-report/1');
    expect(readFileSync(join(folder, 'report.html'), 'utf8')).toContain('light_load');
  });

  it('exits with 99 when thresholds are missed, 2 for wrong usage, 1 when the target does not answer', async () => {
    const failing = await startSmallGateway({ refuse: () => ({ status: 503, body: { code: 'UNAVAILABLE' } }) });
    const args = ['light_load', '--sessions', '5', '--time-scale', '600', '-o', folder, ...shared];
    expect(await load([...args, '-s', failing.url])).toBe(99);
    await failing.close();
    expect(await load([...args, '-s', failing.url])).toBe(1);
    expect(await load(['no_such_scenario'])).toBe(2);
    expect(await load(['light_load', '-s', 'http://192.0.2.1'])).toBe(2);
  });
});

describe('the baseline', () => {
  it('names what is worse beyond the tolerance, and nothing else', () => {
    const slower = {
      ...report,
      latency: {
        ...report.latency,
        corrected: { ...report.latency.corrected, p95: report.latency.corrected.p95 * 2 + 100 },
      },
      calls: { ...report.calls, success_share: report.calls.success_share - 0.1 },
    };
    expect(compare(report, report, 0).filter(({ regressed }) => regressed)).toEqual([]);
    const regressed = compare(slower, report, 0.2).filter((row) => row.regressed);
    expect(regressed.map(({ name }) => name)).toEqual(['latency, 95th percentile', 'successful calls']);
  });

  it('decides the exit code, although every threshold was met', async () => {
    const slow = await startSmallGateway({ delayMs: () => 30 });
    onTestFinished(() => slow.close());
    const [before, now] = [join(folder, 'before.json'), join(folder, 'now')];
    const scenario = join(folder, 'easy.json');
    const thresholds = { sent_min: 0, p95_ms_max: 60_000, p99_ms_max: 60_000, create_per_second_min: 0 };
    const easy = { sessions: 5, minutes: 5, addresses: 2, messages_per_minute_per_address: 30, thresholds };
    writeFileSync(scenario, JSON.stringify(easy));
    const args = [scenario, '--time-scale', '300', '-s', slow.url, '-o', now, ...shared];
    const withP95 = (p95: number) => {
      const corrected = { p50: 60_000, p95, p99: 60_000 };
      const figures = { latency: { corrected }, first_token: { p95: 60_000 }, sessions: { create_per_second: 0 } };
      writeFileSync(before, JSON.stringify({ ...report, ...figures, scenario: { name: 'easy' } }));
      return load([...args, '--baseline', before]);
    };
    expect(await withP95(60_000)).toBe(0);
    expect(await withP95(1)).toBe(99);
    const { passed, comparisons } = JSON.parse(readFileSync(join(now, 'report.json'), 'utf8')) as Report & {
      comparisons: readonly { name: string; regressed: boolean }[];
    };
    expect(passed).toBe(true);
    expect(comparisons.filter(({ regressed }) => regressed).map(({ name }) => name)).toEqual([
      'latency, 95th percentile',
    ]);
  });

  it('is refused when it is no report, or of another scenario or time scale', () => {
    const path = join(folder, 'other.json');
    writeFileSync(path, '{"format":"other"}');
    expect(() => readBaseline(path, 'light_load', 300)).toThrow(/expected a report.json/);
    const own = join(folder, 'report.json');
    writeFileSync(own, JSON.stringify(report));
    expect(readBaseline(own, 'light_load', 300).scenario.name).toBe('light_load');
    expect(() => readBaseline(own, 'heavy_load', 300)).toThrow(/is of light_load at time scale 300/);
    expect(() => readBaseline(own, 'light_load', 1)).toThrow(/expected light_load at 1/);
  });
});

describe.skipIf(browser === undefined)('the page, in Chromium (skipped where there is none)', () => {
  it.each([
    ['of a run', () => report],
    ['with everything in it', crowded],
  ])(
    '%s has no fault that axe finds, asks the network for nothing, and shows a table for each chart',
    async (_, of) => {
      const path = join(folder, 'page.html');
      const shown = of();
      writeFileSync(path, page(shown, compare(shown, report, 0.2)));
      const chrome = await chromium.launch({ executablePath: browser!, args: ['--no-sandbox'] });
      try {
        const tab = await chrome.newPage();
        const asked: string[] = [];
        tab.on('request', (request) => asked.push(request.url()));
        await tab.goto(pathToFileURL(path).href);
        expect(asked).toEqual([pathToFileURL(path).href]);
        expect(await tab.title()).toContain('Load report');
        await tab.addScriptTag({ path: createRequire(import.meta.url).resolve('axe-core') });
        await tab.evaluate('for (const details of document.querySelectorAll("details")) details.open = true');
        const found = (await tab.evaluate('axe.run()')) as { violations: { id: string; impact: string }[] };
        expect(found.violations.map(({ id, impact }) => `${impact} ${id}`)).toEqual([]);
        expect(await tab.locator('figure').count()).toBe(await tab.locator('figure table').count());
        expect(await tab.locator('figure').count()).toBeGreaterThanOrEqual(5);
      } finally {
        await chrome.close();
      }
    },
  );
});
