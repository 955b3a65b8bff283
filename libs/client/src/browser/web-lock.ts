import { abandonable, inProcessLock, type Lock } from '../lock.js';

/** The part of `navigator.locks` that is used. */
export interface LockManagerLike {
  request<T>(
    name: string,
    options: { signal?: AbortSignal; mode?: 'shared'; steal?: boolean },
    task: () => Promise<T>,
  ): Promise<T>;
  query(): Promise<{ readonly held?: readonly { readonly name?: string; readonly clientId?: string }[] }>;
}

/** The page's; undefined where there are none, as on a page that did not come over HTTPS. */
export function locksOfPage(): LockManagerLike | undefined {
  return (globalThis as { navigator?: { locks?: LockManagerLike } }).navigator?.locks;
}

/** A tab that holds the lock for longer than any request may take is frozen or broken. In milliseconds. */
const TAKE_OVER_MS = 40_000;

/**
 * Shared by all tabs and workers of an origin (Web Locks API); the browser releases it when a tab dies, and a tab that
 * keeps it for too long loses it. Browsers have such locks in secure contexts alone: elsewhere it holds within this tab,
 * and the server's grace answers tabs that refresh at the same time.
 *
 * @param takeOverMs how long one tab may hold the lock while another waits
 */
export function webLock(locks = locksOfPage(), takeOverMs = TAKE_OVER_MS): Lock {
  if (!locks) return inProcessLock();
  const manager = locks;
  const holderOf = async (name: string) => {
    const { held = [] } = await manager.query();
    return held.find((lock) => lock.name === name)?.clientId;
  };

  async function run<T>(name: string, task: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    for (let holder = await holderOf(name); ;) {
      const late = new AbortController();
      const timer = setTimeout(() => late.abort(), takeOverMs);
      let begun = false;
      const begin = () => {
        begun = true;
        clearTimeout(timer);
        return task();
      };
      try {
        return await manager.request(
          name,
          { signal: signal ? AbortSignal.any([signal, late.signal]) : late.signal },
          begin,
        );
      } catch (error) {
        if (begun || !late.signal.aborted || signal?.aborted) throw error;
      } finally {
        clearTimeout(timer);
      }
      const before = holder;
      holder = await holderOf(name);
      if (holder !== undefined && holder === before) return manager.request(name, { steal: true }, task);
    }
  }

  return {
    run: (name, task, signal) =>
      // The manager takes no signal that has fired already.
      abandonable(signal?.aborted ? Promise.reject(signal.reason as Error) : run(name, task, signal), signal),
  };
}
