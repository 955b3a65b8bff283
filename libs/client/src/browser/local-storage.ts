import type { Store } from '../store.js';
import { locksOfPage, type LockManagerLike } from './web-lock.js';

/** The part of `window.localStorage` that is used. */
export interface StorageLike {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

/** The part of `window` that is used. */
interface Page {
  addEventListener(type: 'storage', listener: () => void): void;
  removeEventListener(type: 'storage', listener: () => void): void;
}

/** How long a write is announced: far longer than it takes to reach another tab. In milliseconds. */
const ANNOUNCED_MS = 5_000;
/** An announced write that does not arrive is not waited for longer: the user may have cleared the storage. */
const ARRIVAL_MS_MAX = 1_000;

/**
 * Keeps the session across restarts of the browser and shares it between its tabs; use it with {@link webLock}.
 * Any script of the page can read it, as it can use the page's session anyway.
 *
 * What one tab writes, a tab in another process may read only a moment later, although it has the lock already: browsers
 * order neither with the other. So a write has a number, and the number is the name of a lock that is held for a while.
 * The next tab asks which of these are held, and waits until it can read that far.
 *
 * @param locks absent (no secure context): tabs may miss each other's last write
 */
export function localStorageStore(
  prefix = 'sluice',
  storage = (globalThis as unknown as { localStorage: StorageLike }).localStorage,
  locks: LockManagerLike | undefined = locksOfPage(),
): Store {
  const nameOf = (key: string) => `${prefix}:${key}`;
  const WRITES = `${prefix} writes`;
  const written = () => Number(storage.getItem(WRITES)) || 0;

  async function announce(): Promise<void> {
    const number = written() + 1;
    storage.setItem(WRITES, String(number));
    if (!locks) return;
    await new Promise<void>((held) => {
      const hold = () => {
        held();
        return new Promise<void>((over) => void setTimeout(over, ANNOUNCED_MS));
      };
      // A write is a write, announced or not: the server's grace answers a tab that missed it.
      locks.request(`${WRITES} ${number}`, { mode: 'shared' }, hold).catch(held);
    });
  }

  return {
    get: (key) => storage.getItem(nameOf(key)) ?? undefined,
    set(key, value) {
      storage.setItem(nameOf(key), value);
      return announce();
    },
    delete(key) {
      storage.removeItem(nameOf(key));
      return announce();
    },
    async catchUp() {
      const { held = [] } = (await locks?.query()) ?? {};
      const numbers = held.map(({ name = '' }) =>
        name.startsWith(`${WRITES} `) ? Number(name.slice(WRITES.length)) : 0,
      );
      const latest = Math.max(0, ...numbers);
      if (written() < latest) await arrival(() => written() >= latest);
    },
  };
}

/** Until what other tabs wrote makes it true, or that has taken too long. */
function arrival(isThere: () => boolean): Promise<void> {
  const page = globalThis as unknown as Page;
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      page.removeEventListener('storage', look);
      resolve();
    };
    const look = () => void (isThere() && done());
    const timer = setTimeout(done, ARRIVAL_MS_MAX);
    page.addEventListener('storage', look);
  });
}
