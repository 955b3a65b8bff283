import type { Store } from './store.js';

/**
 * The store, with what it refuses to write kept in memory: a full or forbidden storage must not lose a refresh token that
 * the server has just issued, since the one before it is good for a few seconds only. A refused write is tried again by
 * `catchUp`, that is, by the next one who holds the lock, unless somebody else has written meanwhile.
 *
 * @param onRefused told of each refused write, once
 */
export function keepRefusedWrites(
  store: Store,
  onRefused: (error: unknown) => void,
): Store & { catchUp(): Promise<void> } {
  /** What could not be written, by key, and what stands in the store instead; `undefined` is a deletion. */
  const refused = new Map<string, { readonly value: string | undefined; readonly over: string | undefined }>();

  const write = async (key: string, value: string | undefined) =>
    value === undefined ? store.delete(key) : store.set(key, value);

  async function put(key: string, value: string | undefined): Promise<void> {
    try {
      await write(key, value);
      refused.delete(key);
    } catch (error) {
      refused.set(key, { value, over: await store.get(key) });
      onRefused(error);
    }
  }

  async function get(key: string): Promise<string | undefined> {
    const stored = await store.get(key);
    const own = refused.get(key);
    if (own === undefined) return stored;
    if (own.over === stored) return own.value;
    refused.delete(key);
    return stored;
  }

  return {
    get,
    set: put,
    delete: (key) => put(key, undefined),
    async catchUp() {
      await store.catchUp?.();
      for (const key of [...refused.keys()]) {
        const value = await get(key);
        if (!refused.has(key)) continue;
        await write(key, value).then(
          () => refused.delete(key),
          () => undefined,
        );
      }
    },
  };
}
