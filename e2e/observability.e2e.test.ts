import { readFileSync } from 'node:fs';
import { startSystem, type TestSystem } from '@sluice/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';

let system: TestSystem;
let exported: Set<string>;

beforeAll(async () => {
  system = await startSystem();
  const pages = await Promise.all(
    system.system.processes.map(async ({ instance }) => (await fetch(`${instance.adminUrl}/metrics`)).text()),
  );
  exported = new Set(pages.flatMap((page) => [...page.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name!)));
});
afterAll(() => system?.stop());

/** The metrics that an expression reads; what Prometheus makes itself (`up`) does not count. */
function metricsOf(expression: string): string[] {
  const names = expression.match(/\b[a-z][a-z0-9]*(?:_[a-z0-9]+)+\b(?=[[{)\s]|$)/g) ?? [];
  return names.filter((name) => name !== 'histogram_quantile').map((name) => name.replace(/_(bucket|sum|count)$/, ''));
}

test.each([
  ['alert rules', 'docker/prometheus/alerts.yml', /^\s+expr: (?:\|\n((?:\s{10,}.*\n)+)|(.*))/gm],
  ['dashboard', 'docker/grafana/dashboards/sluice.json', /"expr": ()"(.*)",$/gm],
])('every metric of the %s is exported by a process', (_, path, pattern) => {
  const expressions = [...readFileSync(path, 'utf8').matchAll(pattern)].map(([, block, line]) => block || line || '');
  expect(expressions.length).toBeGreaterThan(3);
  const used = expressions.flatMap(metricsOf);
  expect(used.length).toBeGreaterThanOrEqual(expressions.length - 1);
  expect(used.filter((name) => !exported.has(name))).toEqual([]);
});
