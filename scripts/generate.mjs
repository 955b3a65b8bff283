/**
 * Generates libs/contract from proto/: TypeScript by ts-proto and the descriptor set that the gateway reads. From that, the
 * client's types.
 *
 *   npm run generate            writes the files
 *   npm run generate -- --check exits with 1, naming the files, when they are not what proto/ gives
 */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const target = join(root, 'libs/contract');
const check = process.argv.includes('--check');
const work = mkdtempSync(join(tmpdir(), 'sluice-generate-'));

const buf = (...args) =>
  execFileSync(process.execPath, [join(root, 'node_modules/@bufbuild/buf/bin/buf'), ...args], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, PATH: `${join(process.execPath, '..')}:${process.env.PATH}` },
  });

try {
  mkdirSync(join(work, 'descriptors'));
  buf('generate', '--output', work);
  buf('build', '--output', join(work, 'descriptors/sluice.binpb'));
  const generated = join(work, 'libs/contract/src/generated');
  const pairs = [
    [generated, join(target, 'src/generated')],
    [join(work, 'descriptors'), join(target, 'descriptors')],
  ];
  if (check) {
    const stale = pairs.flatMap(([from, to]) => differences(from, to));
    if (stale.length > 0) {
      console.error(`libs/contract differs from proto/; run \`npm run generate\`:\n  ${stale.join('\n  ')}`);
      process.exitCode = 1;
    } else console.log('libs/contract is what proto/ gives');
  } else {
    for (const [from, to] of pairs) {
      rmSync(to, { recursive: true, force: true });
      cpSync(from, to, { recursive: true });
    }
  }
  execFileSync(process.execPath, [join(root, 'libs/client/scripts/api-types.mjs'), ...(check ? ['--check'] : [])], {
    stdio: 'inherit',
  });
} finally {
  rmSync(work, { recursive: true, force: true });
}

/** Files that exist in one tree only, or differ. */
function differences(from, to) {
  const list = (dir) =>
    existsSync(dir)
      ? readdirSync(dir, { recursive: true, withFileTypes: true })
          .filter((entry) => entry.isFile())
          .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(dir.length + 1))
      : [];
  const names = new Set([...list(from), ...list(to)]);
  const same = (name) =>
    existsSync(join(from, name)) &&
    existsSync(join(to, name)) &&
    readFileSync(join(from, name)).equals(readFileSync(join(to, name)));
  return [...names].filter((name) => !same(name)).map((name) => join(to, name).slice(root.length));
}
