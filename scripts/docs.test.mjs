import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path) => readFileSync(join(root, path), 'utf8');
const pages = ['docs', 'docs/runbooks'].flatMap((folder) =>
  readdirSync(join(root, folder))
    .filter((file) => file.endsWith('.md'))
    .map((file) => `${folder}/${file}`),
);

/** What the code of all packages, the settings and the alerts name. */
const sources = ['apps', 'libs']
  .flatMap((folder) => readdirSync(join(root, folder)).map((name) => `${folder}/${name}/src`))
  .filter((folder) => existsSync(join(root, folder)))
  .flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true })
      .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
      .map((file) => read(join(folder, file))),
  )
  .join('\n');
const settings = [read('docs/reference/settings.md'), read('docker-compose.yml'), sources].join('\n');
const rules = read('docker/prometheus/alerts.yml');
const alerts = new Set([...rules.matchAll(/alert: (\w+)/g)].map(([, name]) => name));

/** As GitHub makes them. */
const anchors = (path) =>
  [...read(path).matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
/** Of what stands in backquotes or in blocks of code. */
const code = (text) => [...text.matchAll(/```[^`]*```|`[^`\n]+`/g)].map(([part]) => part).join('\n');
const unique = (text, pattern) => [...new Set([...text.matchAll(pattern)].map(([, name]) => name))];

/** Metrics of Node and the process are prom-client's, but for ours. */
const METRIC = /\b((?:gateway|sluice|allocator|postcard|http2|grpc_server)_[a-z_]+[a-z])\b(?!=)/g;
const SUFFIX = /_(?:bucket|sum|count)$/;
/** Of the simulations, other programs and what a reader fills in. */
const NOT_SETTINGS =
  /^(BASE_URL|[A-Z_]+_ID|INITIAL_TOKEN|REFRESH_TOKEN|CONCURRENCY|BATCH_SIZE|ROUNDS|SSLKEYLOGFILE|GREETER_\w+)$/;
const CODES = /^[A-Z_]+$/;

describe.each(pages)('%s', (page) => {
  const text = read(page);

  test('links to what is there', () => {
    const links = [...text.matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)/g)];
    const broken = links.filter(([, path, anchor]) => {
      const target = path === '' ? page : join(dirname(page), path);
      if (!existsSync(join(root, target))) return true;
      return anchor !== undefined && target.endsWith('.md') && !anchors(target).includes(anchor);
    });
    expect(broken.map(([link]) => link)).toEqual([]);
  });

  test('names settings, metrics and alerts that there are', () => {
    const inCode = code(text);
    const names = unique(inCode, /\b([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)\b/g).filter((name) => !NOT_SETTINGS.test(name));
    // A name that stands nowhere else is neither a setting nor a code.
    expect(names.filter((name) => CODES.test(name) && !settings.includes(name.replace(/_FILE$/, '')))).toEqual([]);
    const metrics = unique(inCode, METRIC).map((name) => name.replace(SUFFIX, ''));
    expect(metrics.filter((name) => !sources.includes(name) && !rules.includes(name))).toEqual([]);
    expect(unique(text, /\b(Sluice[A-Z]\w+)\b/g).filter((name) => !alerts.has(name) && name !== 'SluiceError')).toEqual(
      [],
    );
  });
});
