import { accessSync, constants, existsSync, readdirSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { line, step } from './console.mjs';
import { capture } from './run-command.mjs';

/** Programs of the machine that tests use when they are there, the Debian package of each, and the word in a test file that shows it is wanted. */
const PROGRAMS = [
  { program: 'redis-server', debian: 'redis-server', wantedBy: 'startRedis' },
  { program: 'chromium', debian: 'chromium', wantedBy: 'playwright-core' },
];

/** Installs what is missing where that needs no question: as root on Debian. Elsewhere the tests that need it are skipped, and say so. */
export async function installPrograms(root) {
  const tests = ['libs', 'apps', 'e2e'].flatMap((folder) => testFiles(join(root, folder)));
  const missing = PROGRAMS.filter(
    ({ program, wantedBy }) => !onPath(program) && tests.some((file) => readFileSync(file, 'utf8').includes(wantedBy)),
  );
  if (missing.length === 0) return;
  const names = missing.map(({ debian }) => debian).join(', ');
  if (process.getuid?.() !== 0 || !existsSync('/etc/debian_version')) {
    line('programs', `not installed: ${names}; the tests that need them are skipped`);
    return;
  }
  await step('programs', `installing ${names}`, async () => {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
    const apt = (...args) => capture('apt-get', args, { env });
    await apt('update', '-qq');
    const { code, output } = await apt(
      'install',
      '-y',
      '-qq',
      '--no-install-recommends',
      ...missing.map(({ debian }) => debian),
    );
    if (code === 0) line('programs', `installed ${names}`);
    else
      line(
        'programs',
        `could not install ${names}; the tests that need them are skipped\n${output.trim().split('\n').slice(-3).join('\n')}`,
      );
  });
}

function onPath(program) {
  return process.env.PATH.split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function testFiles(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (entry.name === 'node_modules' || entry.name === 'dist') return [];
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return testFiles(path);
    return entry.name.endsWith('.test.ts') ? [path] : [];
  });
}
