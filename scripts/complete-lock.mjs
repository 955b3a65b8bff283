/**
 * Adds to package-lock.json the optional platform packages that npm left out when the lock was made.
 *
 * npm drops an optional dependency from the lock when the registry at hand does not hold it, and `npm ci` then
 * refuses the lock ("Missing: … from lock file"). Each missing package gets an entry with its version and the
 * platform its name tells, so that it is fetched only where it is of use. Run after every `npm install` that changes the lock:
 *
 *   npm run lock
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const OS_NAMES = {
  darwin: 'darwin',
  win32: 'win32',
  windows: 'win32',
  linux: 'linux',
  freebsd: 'freebsd',
  openbsd: 'openbsd',
  netbsd: 'netbsd',
  android: 'android',
  sunos: 'sunos',
  aix: 'aix',
  openharmony: 'openharmony',
};
const CPU_NAMES = {
  arm64: 'arm64',
  aarch64: 'arm64',
  x64: 'x64',
  ia32: 'ia32',
  arm: 'arm',
  armv7: 'arm',
  ppc64: 'ppc64',
  ppc64le: 'ppc64',
  riscv64: 'riscv64',
  s390x: 's390x',
  loong64: 'loong64',
  mips64el: 'mips64el',
  wasm32: 'wasm32',
};

/** The `os`, `cpu` and `libc` fields that a platform package's name tells. A name that tells none suits no platform. */
export function platformOf(name) {
  const words = name.split(/[-/]/);
  const os = words.map((word) => OS_NAMES[word]).filter(Boolean);
  const cpu = words.map((word) => CPU_NAMES[word]).filter(Boolean);
  const libc = words.some((word) => word.startsWith('musl'))
    ? ['musl']
    : words.includes('gnu') && os.includes('linux')
      ? ['glibc']
      : undefined;
  return { os: os.length ? os : ['none'], cpu: cpu.length ? cpu : ['none'], ...(libc && { libc }) };
}

/** Returns the names that were added to `lock.packages` (changed in place). */
export function completeLock(lock) {
  const present = new Set(Object.keys(lock.packages).map((path) => path.split('node_modules/').at(-1)));
  const added = [];
  for (const [path, entry] of Object.entries(lock.packages)) {
    if (path === '' || entry.link) continue;
    for (const [name, range] of Object.entries(entry.optionalDependencies ?? {})) {
      if (present.has(name)) continue;
      const version = range.replace(/^[\^~]/, '');
      lock.packages[`node_modules/${name}`] = { version, dev: entry.dev, optional: true, ...platformOf(name) };
      present.add(name);
      added.push(`${name}@${version}`);
    }
  }
  lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)));
  return added;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const file = new URL('../package-lock.json', import.meta.url);
  const lock = JSON.parse(readFileSync(file, 'utf8'));
  const added = completeLock(lock);
  writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
  console.log(added.length ? `completed the lock with ${added.length} optional packages` : 'the lock is complete');
}
