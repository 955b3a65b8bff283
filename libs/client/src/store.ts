/**
 * Where a client keeps its session and its record of guest tokens: text by key. Share one between processes or tabs only
 * together with a {@link Lock} that they share too.
 */
export interface Store {
  get(key: string): string | undefined | Promise<string | undefined>;
  set(key: string, value: string): void | Promise<void>;
  delete(key: string): void | Promise<void>;
  /**
   * Waits until all can be read that was stored by those who had the lock before. Asked by whoever has just got the lock;
   * absent when a store is never behind its lock.
   */
  catchUp?(): Promise<void>;
}

/** Forgets everything with the process. */
export function memoryStore(): Store {
  const values = new Map<string, string>();
  return {
    get: (key) => values.get(key),
    set: (key, value) => void values.set(key, value),
    delete: (key) => void values.delete(key),
  };
}
