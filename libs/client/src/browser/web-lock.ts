import { abandonable, type Lock } from '../lock.js';

/** The part of `navigator.locks` that is used. */
export interface LockManagerLike {
  request<T>(name: string, options: { signal?: AbortSignal; mode?: 'shared' }, task: () => Promise<T>): Promise<T>;
  query(): Promise<{ readonly held?: readonly { readonly name?: string }[] }>;
}

/** The page's; undefined where there are none. */
export function locksOfPage(): LockManagerLike | undefined {
  return (globalThis as { navigator?: { locks?: LockManagerLike } }).navigator?.locks;
}

/** Shared by all tabs and workers of an origin (Web Locks API); the browser releases it when a tab dies. Needs a secure context. */
export function webLock(
  locks = (globalThis as unknown as { navigator: { locks: LockManagerLike } }).navigator.locks,
): Lock {
  return {
    run: (name, task, signal) =>
      abandonable(
        // The manager takes no signal that has fired already, and none that is undefined.
        signal?.aborted ? Promise.reject(signal.reason as Error) : locks.request(name, signal ? { signal } : {}, task),
        signal,
      ),
  };
}
