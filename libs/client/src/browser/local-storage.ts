import type { Store } from '../store.js';

/** The part of `window.localStorage` that is used. */
export interface StorageLike {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

/**
 * Keeps the session across restarts of the browser and shares it between its tabs; use it with {@link webLock}.
 * Any script of the page can read it, as it can use the page's session anyway.
 */
export function localStorageStore(
  prefix = 'sluice',
  storage = (globalThis as unknown as { localStorage: StorageLike }).localStorage,
): Store {
  const name = (key: string) => `${prefix}:${key}`;
  return {
    get: (key) => storage.getItem(name(key)) ?? undefined,
    set: (key, value) => storage.setItem(name(key), value),
    delete: (key) => storage.removeItem(name(key)),
  };
}
