import { abandonable, inProcessLock, type Lock } from '../lock.js';
import { errorCode, fileSystem, hostName, nodeProcess } from './builtin.js';

/** The holder touches its file this often; a file untouched for longer than STALE_MS has lost its holder. */
const TOUCH_MS = 1_000;
const STALE_MS = 10_000;
const POLL_MS = 15;

/**
 * Shared by all processes that name the same folder. Held by creating a file, which exactly one process can; a file whose
 * process has died is taken over.
 *
 * @param folder created when it is missing
 */
export function fileLock(folder: string): Lock {
  // One process asks for the file once at a time; its own tasks queue here, in order.
  const queue = inProcessLock();
  return {
    run: (name, task, signal) =>
      queue.run(
        name,
        async () => {
          const release = await acquire(folder, `${folder}/${encodeURIComponent(name)}.lock`, signal);
          try {
            return await task();
          } finally {
            await release();
          }
        },
        signal,
      ),
  };
}

async function acquire(folder: string, path: string, signal: AbortSignal | undefined): Promise<() => Promise<void>> {
  const fs = fileSystem();
  const holder = `${nodeProcess().pid} ${hostName()} ${crypto.randomUUID()}`;
  await fs.mkdir(folder, { recursive: true, mode: 0o700 });
  const watch = { holder: untouched(path), breaker: untouched(`${path}.break`) };
  while (!(await create(path, holder))) {
    signal?.throwIfAborted();
    await breakIfAbandoned(path, watch);
    // A little apart, so that those who wait do not ask in step.
    await abandonable(new Promise((resolve) => setTimeout(resolve, POLL_MS * (1 + Math.random()))), signal);
  }
  const touch = setInterval(() => {
    const now = new Date();
    fs.utimes(path, now, now).catch(() => undefined);
  }, TOUCH_MS);
  (touch as { unref?(): void }).unref?.();
  return async () => {
    clearInterval(touch);
    if ((await readHolder(path)) === holder) await fs.rm(path, { force: true });
  };
}

async function create(path: string, holder: string): Promise<boolean> {
  try {
    await fileSystem().writeFile(path, holder, { flag: 'wx', mode: 0o600 });
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    throw error;
  }
}

interface Watch {
  readonly holder: () => Promise<boolean>;
  readonly breaker: () => Promise<boolean>;
}

async function breakIfAbandoned(path: string, watch: Watch): Promise<void> {
  if (!(await isAbandoned(path, watch))) return;
  const fs = fileSystem();
  // Of those who see a dead holder one removes its file. The others, coming later, would remove a new holder's.
  const breaker = `${path}.break`;
  if (!(await create(breaker, String(nodeProcess().pid)))) {
    if (await watch.breaker()) await fs.rm(breaker, { force: true });
    return;
  }
  try {
    if (await isAbandoned(path, watch)) await fs.rm(path, { force: true });
  } finally {
    await fs.rm(breaker, { force: true });
  }
}

async function isAbandoned(path: string, watch: Watch): Promise<boolean> {
  const holder = await readHolder(path);
  if (holder === undefined) return false;
  const [pid, host] = holder.split(' ');
  // A file that was just created may not have its text yet.
  if (host === hostName() && !isAlive(Number(pid))) return true;
  return watch.holder();
}

/**
 * Whether nobody has touched the file for STALE_MS: by its own time, or, since that may lie in the future by this machine's
 * clock, by how long it has been watched without a change.
 */
function untouched(path: string): () => Promise<boolean> {
  let seen: { readonly mtimeMs: number; readonly since: number } | undefined;
  return async () => {
    try {
      const { mtimeMs } = await fileSystem().stat(path);
      if (Date.now() - mtimeMs > STALE_MS) return true;
      if (seen?.mtimeMs !== mtimeMs) seen = { mtimeMs, since: performance.now() };
      return performance.now() - seen.since > STALE_MS;
    } catch {
      return false;
    }
  };
}

async function readHolder(path: string): Promise<string | undefined> {
  try {
    return await fileSystem().readFile(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function isAlive(pid: number): boolean {
  try {
    nodeProcess().kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) !== 'ESRCH';
  }
}
