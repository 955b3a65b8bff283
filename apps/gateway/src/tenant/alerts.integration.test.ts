import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../../../', import.meta.url));
const missing = spawnSync('promtool', ['--version']).status === 0 ? '' : ' (promtool is not installed)';

it('alerts name runbooks that there are', () => {
  const named = readFileSync(`${root}docker/prometheus/alerts.yml`, 'utf8').match(/docs\/runbooks\/[\w-]+\.md/g) ?? [];
  expect(named.length).toBeGreaterThan(3);
  expect(named.filter((file) => !existsSync(`${root}${file}`))).toEqual([]);
});

describe.skipIf(missing !== '')(`Prometheus${missing}`, () => {
  it('fires alerts by tier and on late SETTINGS as alerts.test.yml says', () => {
    const told = execFileSync('promtool', ['test', 'rules', `${root}docker/prometheus/alerts.test.yml`], {
      encoding: 'utf8',
    });
    expect(told).toContain('SUCCESS');
  });
});
