import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { line, seconds, step, Stop } from './console.mjs';
import { capture } from './run-command.mjs';

/** Installs what package-lock.json says when node_modules holds something else. */
export async function installPackages(root) {
  const difference = whatIsMissing(root);
  if (difference === undefined) return;
  const began = Date.now();
  line('packages', `installing, because ${difference} (about a minute, more on a slow line)`);
  const npm = process.env.npm_execpath?.endsWith('.js')
    ? [process.execPath, process.env.npm_execpath]
    : [process.platform === 'win32' ? 'npm.cmd' : 'npm'];
  const { code, output } = await step('packages', 'installing', () =>
    capture(npm[0], [...npm.slice(1), 'ci', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: root }),
  ).catch((error) => {
    throw new Stop(`npm cannot be run: ${error.message}`);
  });
  if (code !== 0) throw new Stop(`npm ci failed:\n${output.trim().split('\n').slice(-20).join('\n')}`);
  line('packages', `installed in ${seconds(began)}`);
}

/**
 * Compares package-lock.json with the record that npm keeps of what it installed.
 *
 * @returns the first difference as a phrase; undefined when all is there
 */
export function whatIsMissing(root) {
  const record = join(root, 'node_modules/.package-lock.json');
  if (!existsSync(record)) return 'node_modules is not there';
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  const present = JSON.parse(readFileSync(record, 'utf8')).packages;
  for (const [path, entry] of Object.entries(wanted)) {
    if (!path.includes('node_modules/')) continue;
    const have = present[path];
    const name = path.split('node_modules/').at(-1);
    if (entry.link) {
      if (!existsSync(join(root, path))) return `${name} is not linked`;
    } else if (have === undefined) {
      if (!entry.optional) return `${name} is not installed`;
    } else if (have.version !== entry.version) return `${name} is ${have.version} and should be ${entry.version}`;
  }
  return undefined;
}
