/**
 * `npm test`: every check and every test, each to its end, and one closing line `N passed, N failed, N skipped`.
 *
 *   npm test                    all
 *   npm test -- format unit     only these (names as printed)
 *
 * Up to the install it uses nothing but Node 20; from then on it is the project's own Node that runs.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from './bootstrap/build.mjs';
import { exitOnStop, line, seconds, Stop } from './bootstrap/console.mjs';
import { checkNode, continueOnProjectNode, isProjectNode } from './bootstrap/node.mjs';
import { installPackages } from './bootstrap/packages.mjs';
import { installPrograms } from './bootstrap/programs.mjs';
import { capture } from './bootstrap/run-command.mjs';
import { countTests } from './bootstrap/test-report.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const tool = (path) => join(root, 'node_modules', path);
const node = (...args) => [process.execPath, args];

/** What the slow checks remember of the last run. */
const CACHE = {
  format: ['--cache', '--cache-location', tool('.cache/sluice-format')],
  types: ['--incremental', '--tsBuildInfoFile', tool('.cache/sluice-types.tsbuildinfo')],
};

/** Each counts as one; in the order of how fast they tell. `run` gives `{ passed, failed, skipped: [what and why] }`. */
const CHECKS = [
  {
    name: 'format',
    run: command(...node(tool('prettier/bin/prettier.cjs'), '--check', '--log-level=warn', ...CACHE.format, '.')),
  },
  { name: 'lint', run: command(...node(tool('oxlint/bin/oxlint'))) },
  { name: 'imports', run: command(...node('scripts/check-imports.mjs')) },
  { name: 'build', run: compile },
  { name: 'types', run: command(...node(tool('typescript/bin/tsc'), '-p', 'tsconfig.test.json', ...CACHE.types)) },
  { name: 'settings', run: command(...node('scripts/settings-reference.mjs', '--check')) },
  { name: 'generated', run: command(...node('scripts/generate.mjs', '--check')) },
  { name: 'proto-lint', run: command(...node(tool('@bufbuild/buf/bin/buf'), 'lint')) },
  { name: 'proto-break', run: breakingChanges },
  { name: 'unit', run: vitest },
  { name: 'integration', run: vitest },
  { name: 'e2e', run: vitest },
];

async function main() {
  checkNode();
  await installPackages(root);
  if (isProjectNode(root)) await runAll(process.argv.slice(2));
  else continueOnProjectNode(root, fileURLToPath(import.meta.url));
}

async function runAll(names) {
  const unknown = names.filter((name) => !CHECKS.some((check) => check.name === name));
  if (unknown.length > 0)
    throw new Stop(
      `No check is called ${unknown.join(', ')}. There are: ${CHECKS.map(({ name }) => name).join(', ')}.`,
    );
  const began = Date.now();
  const wanted = CHECKS.filter(({ name }) => names.length === 0 || names.includes(name));
  if (wanted.some(({ name }) => name === 'integration' || name === 'e2e')) await installPrograms(root);
  if (wanted.some(({ name }) => name === 'e2e') && !wanted.some(({ name }) => name === 'build')) await build(root);

  const results = [];
  for (const { name, run } of wanted) {
    const started = Date.now();
    const result = await run(name);
    results.push({ name, ...result });
    const state =
      result.failed > 0
        ? `FAILED (${result.failed} of ${result.failed + result.passed})`
        : result.passed > 0
          ? 'passed'
          : 'skipped';
    line(name, `${state} in ${seconds(started)}`);
  }

  const total = (key) => results.reduce((sum, result) => sum + result[key], 0);
  const skipped = results.flatMap((result) => result.skipped);
  const failing = results.filter(({ failed }) => failed > 0).map(({ name }) => name);
  console.log(`\n${seconds(began)} in all${failing.length > 0 ? `; failed: ${failing.join(', ')}` : ''}`);
  for (const what of skipped) console.log(`skipped: ${what}`);
  console.log(`${total('passed')} passed, ${total('failed')} failed, ${skipped.length} skipped`);
  process.exitCode = total('failed') > 0 ? 1 : 0;
}

/** A check that is one command: what it prints is shown when it fails. */
function command(program, args) {
  return async () => {
    const { code, output } = await capture(program, args, { cwd: root, env: environment() });
    if (code !== 0) console.log(output.trimEnd());
    return verdict(code === 0);
  };
}

async function compile() {
  try {
    await build(root);
    return verdict(true);
  } catch (error) {
    console.log(error.message);
    return verdict(false);
  }
}

/** Compares the contract with the last release, or with the main branch of the origin when nothing was released yet. */
async function breakingChanges(name) {
  const base = await firstBase();
  if (base === undefined)
    return { passed: 0, failed: 0, skipped: [`${name} (no release tag and no origin/main to compare with)`] };
  return command(
    ...node(tool('@bufbuild/buf/bin/buf'), 'breaking', 'proto', '--against', `.git#ref=${base},subdir=proto`),
  )();
}

async function firstBase() {
  const git = (...args) => capture('git', args, { cwd: root }).catch(() => ({ code: 1, output: '' }));
  const tag = await git('describe', '--tags', '--abbrev=0', '--match', 'v*');
  for (const ref of [tag.code === 0 && tag.output.trim(), 'origin/main']) {
    if (!ref) continue;
    const commit = await git('rev-parse', '--verify', '--quiet', `${ref}^{commit}`);
    const hasContract = await git('cat-file', '-e', `${ref}:proto`);
    if (commit.code === 0 && hasContract.code === 0) return commit.output.trim();
  }
  return undefined;
}

/** One project of vitest.config.ts, its progress shown as it runs, counted from its JSON report. */
async function vitest(project) {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-test-'));
  const report = join(folder, 'report.json');
  try {
    const code = await new Promise((resolve, reject) => {
      const args = [
        'run',
        '--project',
        project,
        '--passWithNoTests',
        '--reporter=default',
        '--reporter=json',
        `--outputFile.json=${report}`,
      ];
      const child = spawn(process.execPath, [tool('vitest/vitest.mjs'), ...args], {
        cwd: root,
        stdio: ['ignore', 'inherit', 'inherit'],
        env: environment(),
      });
      child.once('error', reject);
      child.once('exit', resolve);
    });
    return countTests(report, code === 0, root);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function verdict(passed) {
  return { passed: passed ? 1 : 0, failed: passed ? 0 : 1, skipped: [] };
}

/** The tools find the project's Node first, also those that start others by name. */
function environment() {
  return { ...process.env, PATH: `${join(process.execPath, '..')}:${process.env.PATH}` };
}

main().catch(exitOnStop);
