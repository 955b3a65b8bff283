/** docs/reference/brief.md says what demands of the brief are called here: that each name exists, and each test that is said to hold one. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { SETTING_NAMES } from '../libs/config/src/setting-names.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path) => readFileSync(`${root}/${path}`, 'utf8');
const filesBelow = (folder, wanted) =>
  readdirSync(`${root}/${folder}`, { recursive: true })
    .filter((name) => wanted.test(name) && !/node_modules|dist\//.test(name))
    .map((name) => read(`${folder}/${name}`))
    .join('\n');

const sources = filesBelow('libs', /(?<!\.test)\.ts$/) + filesBelow('apps', /(?<!\.test)\.ts$/);
const contract = filesBelow('proto', /\.proto$/);
const deployment = read('docker/prometheus/alerts.yml') + read('docker-compose.yml') + read('config/gateway.yaml');
const scripts = JSON.parse(read('package.json')).scripts;

const rows = read('docs/reference/brief.md')
  .split('\n')
  .filter((line) => line.startsWith('| ') && !/^\| (asked for|-)/.test(line))
  .map((line) =>
    line
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );

const isMethodOf = (name, [verb, path]) =>
  new RegExp(`\\b${verb.toLowerCase()}: "${path}"`).test(contract) || sources.includes(`'${path}'`);

/** What a name in the table is, and whether there is such a thing; the first row that fits counts. */
const KINDS = [
  [/^npm run ([\w-]+)/, (_, name) => name in scripts],
  [/^npm (start|test)$/, (_, name) => name in scripts],
  [/^sh scripts\/dev\.sh (\w+)/, (_, name) => new RegExp(`^  ${name}\\)`, 'm').test(read('scripts/dev.sh'))],
  [/^docker\/|^docs\/|^apps\/|^libs\/|^scripts\/|^tests\/|^config\/|\.py$/, (name) => existsSync(`${root}/${name}`)],
  [/^logs\/(\w+)\/\1-service\.log$/, (_, name) => existsSync(`${root}/apps/${name}`)],
  [/^(GET|POST) (\/\S+)$/, (name, ...parts) => isMethodOf(name, parts)],
  [
    /^[A-Z][A-Z0-9]*(_[A-Z0-9]+)+$|^NODES$|^ROUNDS$|^CONCURRENCY$/,
    (name) => SETTING_NAMES.has(name) || read('apps/lab/src/simulate/options.ts').includes(`'${name}'`),
  ],
  [/^sluice\.([\w.]+)\.(\w+)$/, (_, __, method) => new RegExp(`rpc ${method}\\(`).test(contract)],
  [/^Sluice\w+$/, (name) => deployment.includes(name)],
  [/^\w+(_total|_seconds)$/, (name) => sources.includes(name)],
  [/^[\w.[\]-]+(\(\))?$|^--[\w-]+$/, (name) => appears(name)],
];
const appears = (name) => {
  const word = name
    .replace(/^--|\(\)$|\[\]/g, '')
    .split('.')
    .at(-1);
  return [sources, deployment, read('scripts/dev.sh')].some((text) => text.includes(word));
};

describe.each(rows)('%s', (asked, here, differs, heldBy) => {
  test('has four cells, and what it is called here exists', () => {
    expect([asked, here, heldBy].every((cell) => cell !== undefined && cell !== '')).toBe(true);
    for (const [, name] of here.matchAll(/`([^`]+)`/g)) {
      const kind = KINDS.find(([shape]) => shape.test(name));
      if (kind !== undefined) expect(kind[1](name, ...kind[0].exec(name).slice(1)), name).toBe(true);
    }
    for (const [, name] of differs.matchAll(/`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)`/g))
      expect(SETTING_NAMES.has(name), name).toBe(true);
  });

  test('is held by a test, or says why there is none', () => {
    if (heldBy === 'nothing') expect(differs).not.toBe('');
    else expect(existsSync(`${root}/${heldBy.replaceAll('`', '')}`), heldBy).toBe(true);
  });
});

test('there is a row for each demand', () => {
  expect(rows.length).toBeGreaterThanOrEqual(143);
  expect(new Set(rows.map(([asked]) => asked)).size).toBe(rows.length);
});
