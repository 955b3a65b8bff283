import { type Stats, stat, statSync } from 'node:fs';

/** How often the files are looked at, in milliseconds. Looking works where notification does not: symbolic links that are swapped, network disks. */
const LOOK_EVERY_MS = 1000;

/**
 * Calls `changed` when one of the files is not what it is now: has another content or comes into being. Does not keep the process running.
 *
 * @returns stops watching
 */
export function watchFiles(files: readonly string[], changed: (file: string) => void): () => void {
  // Looked at before this returns: a change right after it would pass for what always was.
  const stamps = new Map(files.map((file) => [file, stampOf(statSync(file, { throwIfNoEntry: false }))]));
  let stopped = false;
  const look = (file: string) =>
    stat(file, (error, stats) => {
      const stamp = stampOf(error ? undefined : stats);
      if (stopped || stamp === stamps.get(file)) return;
      stamps.set(file, stamp);
      changed(file);
    });
  const timer = setInterval(() => {
    for (const file of stamps.keys()) look(file);
  }, LOOK_EVERY_MS).unref();
  return () => {
    stopped = true;
    clearInterval(timer);
  };
}

function stampOf(stats: Stats | undefined): string {
  return stats === undefined ? 'none' : `${stats.mtimeMs} ${stats.size} ${stats.ino}`;
}
