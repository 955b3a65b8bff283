/**
 * `npm run bench [name] [arguments]`: builds, then runs the benchmark of this name; without one, lists them.
 *
 * A benchmark is a file `<name>.bench.ts` under bench/ or in the `src` of a package. It is a script that exports nothing, measures the built packages
 * (it imports them by name) and prints CPU time per call.
 */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from './bootstrap/build.mjs';
import { exitOnStop, Stop } from './bootstrap/console.mjs';
import { checkNode, continueOnProjectNode, isProjectNode } from './bootstrap/node.mjs';
import { installPackages } from './bootstrap/packages.mjs';
import { capture } from './bootstrap/run-command.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

async function main() {
  checkNode();
  await installPackages(root);
  if (!isProjectNode(root)) return continueOnProjectNode(root, fileURLToPath(import.meta.url));
  const [name, ...args] = process.argv.slice(2);
  const found = benchmarks();
  const wanted = found.filter((path) => basename(path) === `${name}.bench.ts`);
  if (wanted.length === 0) {
    const names = found.map((path) => `  ${basename(path, '.bench.ts').padEnd(14)} ${relative(root, path)}`).join('\n');
    if (name === undefined) return console.log(`npm run bench NAME\n\n${names}`);
    throw new Stop(`There is no benchmark ${name}. There are:\n${names}`);
  }
  await build(root);
  for (const path of wanted) await run(await runnable(path), args);
  return undefined;
}

function benchmarks() {
  const folders = ['libs', 'apps'].flatMap((group) =>
    readdirSync(join(root, group)).map((project) => join(root, group, project, 'src')),
  );
  return [join(root, 'bench'), ...folders]
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder, { recursive: true }).map((file) => join(folder, file)))
    .filter((path) => path.endsWith('.bench.ts'));
}

/** Those under bench/ are compiled, since their peers use decorators; the others run as they stand, without their types. */
async function runnable(path) {
  const folder = join(root, 'bench');
  if (!path.startsWith(`${folder}/`)) return path;
  const { code, output } = await capture(
    process.execPath,
    [join(root, 'node_modules/typescript/bin/tsc'), '-p', folder],
    { cwd: root },
  );
  if (code !== 0) throw new Stop(output.trim());
  return join(folder, 'dist', relative(folder, path).replace(/\.ts$/, '.js'));
}

async function run(path, args) {
  const child = spawn(process.execPath, [path, ...args], { cwd: root, stdio: 'inherit' });
  const code = await new Promise((resolve) => child.once('exit', resolve));
  if (code !== 0) process.exitCode = 1;
}

main().catch(exitOnStop);
