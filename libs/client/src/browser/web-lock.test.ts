import { afterEach, expect, test, vi } from 'vitest';
import { webLock, type LockManagerLike } from './web-lock.js';

// Node has the same locks as a browser.
const locks = (globalThis.navigator as unknown as { locks: LockManagerLike }).locks;

afterEach(() => vi.unstubAllGlobals());

/** Somebody else who takes the lock, and gives it back when told to. */
async function holdElsewhere(name: string): Promise<() => void> {
  let release = () => {};
  const taken = new Promise<void>((resolve) => {
    const held = locks.request(name, {}, () => {
      resolve();
      return new Promise<void>((over) => (release = over));
    });
    held.catch(() => undefined);
  });
  await taken;
  return () => release();
}

test('a page without locks, since it did not come over HTTPS, is served within the tab', async () => {
  vi.stubGlobal('navigator', {});
  const lock = webLock();
  let running = 0;
  let most = 0;
  const task = async () => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setImmediate(resolve));
    running--;
    return 'done';
  };
  expect(await Promise.all([lock.run('n', task), lock.run('n', task)])).toEqual(['done', 'done']);
  expect(most).toBe(1);
});

test('one after the other, and errors and signals as they are', async () => {
  const release = await holdElsewhere('order');
  const lock = webLock(locks, 60_000);
  const waiting = lock.run('order', async () => 'mine');
  const leaving = lock.run('order', async () => 'never', AbortSignal.timeout(10));
  await expect(leaving).rejects.toMatchObject({ name: 'TimeoutError' });
  await expect(lock.run('order', async () => 'never', AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone');
  release();
  expect(await waiting).toBe('mine');
  await expect(lock.run('order', () => Promise.reject(new Error('of the task')))).rejects.toThrow('of the task');
});

test('a holder that never gives it back loses it', async () => {
  const release = await holdElsewhere('frozen');
  const lock = webLock(locks, 20);
  expect(await lock.run('frozen', async () => 'mine')).toBe('mine');
  expect(await lock.run('frozen', async () => 'again')).toBe('again');
  release();
});

test('a lock that changes hands meanwhile is waited for', async () => {
  let client = 0;
  const asked: object[] = [];
  const busy: LockManagerLike = {
    query: async () => ({ held: [{ name: 'busy', clientId: `client-${client++}` }] }),
    request: (_, options, task) => {
      asked.push(options);
      if (asked.length === 4) return task();
      return new Promise((__, reject) => {
        options.signal?.addEventListener('abort', () => reject(new DOMException('gone', 'AbortError')));
      });
    },
  };
  expect(await webLock(busy, 5).run('busy', async () => 'mine')).toBe('mine');
  expect(asked.filter((options) => 'steal' in options)).toEqual([]);
});
