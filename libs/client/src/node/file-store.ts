import type { Store } from '../store.js';
import { errorCode, fileSystem } from './builtin.js';

/**
 * Keeps each key in a file of a folder, readable by its owner alone; processes that share the folder share the session,
 * together with {@link fileLock}. A file is replaced whole: a reader never sees half of one.
 *
 * @param folder created when it is missing
 */
export function fileStore(folder: string): Store {
  const fs = fileSystem();
  const pathOf = (key: string) => `${folder}/${encodeURIComponent(key)}.json`;
  return {
    async get(key) {
      try {
        return await fs.readFile(pathOf(key), 'utf8');
      } catch (error) {
        if (errorCode(error) === 'ENOENT') return undefined;
        throw error;
      }
    },
    async set(key, value) {
      await fs.mkdir(folder, { recursive: true, mode: 0o700 });
      const draft = `${pathOf(key)}.${crypto.randomUUID()}`;
      try {
        await fs.writeFile(draft, value, { mode: 0o600, flush: true });
        await fs.rename(draft, pathOf(key));
      } catch (error) {
        await fs.rm(draft, { force: true });
        throw error;
      }
    },
    delete: (key) => fs.rm(pathOf(key), { force: true }),
  };
}
