import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { line, seconds, step, Stop } from './console.mjs';
import { capture } from './run-command.mjs';

const STAMP = 'node_modules/.cache/sluice-build';

/** Compiles all packages with `tsc -b`, unless nothing has changed since the last time (told by sizes and times of files). */
export async function build(root) {
  const stamp = join(root, STAMP);
  const before = fingerprint(root);
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === before) return;
  const began = Date.now();
  const { code, output } = await step('build', 'compiling', () =>
    capture(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-b'], { cwd: root }),
  );
  if (code !== 0) throw new Stop(`The build failed:\n${output.trim()}`);
  mkdirSync(join(stamp, '..'), { recursive: true });
  writeFileSync(stamp, before === fingerprint(root) ? before : fingerprint(root));
  line('build', `compiled in ${seconds(began)}`);
}

/** Changes whenever a source, a setting of the compiler or a compiled entry point does. */
function fingerprint(root) {
  const hash = createHash('sha1');
  const add = (path) => {
    const stat = statSync(path, { throwIfNoEntry: false });
    hash.update(`${path} ${stat?.size} ${stat?.mtimeMs}\n`);
  };
  for (const name of ['tsconfig.json', 'tsconfig.base.json', 'package-lock.json']) add(join(root, name));
  for (const group of ['libs', 'apps']) {
    for (const project of readdirSync(join(root, group))) {
      const folder = join(root, group, project);
      add(join(folder, 'package.json'));
      add(join(folder, 'tsconfig.json'));
      add(join(folder, 'dist', group === 'apps' ? 'main.js' : 'index.js'));
      if (!existsSync(join(folder, 'src'))) continue;
      for (const file of readdirSync(join(folder, 'src'), { recursive: true })) {
        if (file.endsWith('.ts') && !/\.(test|bench)\.ts$/.test(file)) add(join(folder, 'src', file));
      }
    }
  }
  return hash.digest('hex');
}
