import { unwatchFile, watchFile } from 'node:fs';

/** How often the files are looked at, in milliseconds. Looking works where notification does not: symbolic links that are swapped, network disks. */
const LOOK_EVERY_MS = 1000;

/**
 * Calls `changed` when one of the files has another content or comes into being. Does not keep the process running.
 *
 * @returns stops watching
 */
export function watchFiles(files: readonly string[], changed: (file: string) => void): () => void {
  const watched = [...new Set(files)];
  for (const file of watched) {
    watchFile(file, { interval: LOOK_EVERY_MS, persistent: false }, (now, before) => {
      if (now.mtimeMs !== before.mtimeMs || now.size !== before.size || now.ino !== before.ino) changed(file);
    });
  }
  return () => {
    for (const file of watched) unwatchFile(file);
  };
}
