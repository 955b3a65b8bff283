import { reasonOf, throwIfAborted } from './runtime.js';

/** Lets one task of a name run at a time, among everybody who shares the lock. */
export interface Lock {
  /** @param signal gives up waiting, not a task that has begun */
  run<T>(name: string, task: () => Promise<T>, signal?: AbortSignal): Promise<T>;
}

/** For clients of one process and one store. */
export function inProcessLock(): Lock {
  const tails = new Map<string, Promise<unknown>>();
  return {
    async run(name, task, signal) {
      const before = tails.get(name) ?? Promise.resolve();
      const turn = before.then(() => {
        throwIfAborted(signal);
        return task();
      });
      const tail = turn.catch(() => undefined);
      tails.set(name, tail);
      void tail.then(() => tails.get(name) === tail && tails.delete(name));
      return abandonable(turn, signal);
    },
  };
}

/** The promise, or the signal's reason if that comes first; what the promise stands for goes on. */
export function abandonable<T>(promise: Promise<T>, signal: AbortSignal | null | undefined): Promise<T> {
  if (!signal) return promise;
  if (signal.aborted) {
    promise.catch(() => undefined);
    return Promise.reject(reasonOf(signal));
  }
  return new Promise((resolve, reject) => {
    const abandon = () => reject(reasonOf(signal));
    signal.addEventListener('abort', abandon, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abandon));
  });
}
