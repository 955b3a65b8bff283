import type { Problem } from '@sluice/problem';
import { expect, test } from 'vitest';
import { PasswordHasher } from './password-hasher.js';

const hasherOf = (queueMsMax: number) => new PasswordHasher({ memoryKib: 64, passes: 1, concurrency: 2, queueMsMax });

/** Work that ends when the test says so. */
function held() {
  let finish = () => {};
  const ended = new Promise<void>((resolve) => (finish = resolve));
  return { work: () => ended, finish };
}

test('no more than the declared number runs at a time, the others wait their turn', async () => {
  const hasher = hasherOf(60_000);
  let running = 0;
  let most = 0;
  await Promise.all(
    Array.from({ length: 20 }, () =>
      hasher.inTurn(undefined, async () => {
        most = Math.max(most, ++running);
        await hasher.hash('a password');
        running--;
      }),
    ),
  );
  expect(most).toBe(2);
  expect(hasher.queued).toBe(0);
});

test('whoever would wait too long is refused with a time, and the queue stays bounded', async () => {
  const hasher = hasherOf(100);
  const tasks = Array.from({ length: 3 }, held);
  const running = tasks.map(({ work }) => hasher.inTurn(undefined, work));
  const refusals: Problem[] = [];
  const waiting = Array.from({ length: 20 }, () =>
    hasher.inTurn(undefined, async () => undefined).catch((problem: Problem) => refusals.push(problem)),
  );
  expect(hasher.queued).toBeLessThanOrEqual(5);
  for (const { finish } of tasks) finish();
  await Promise.all([...running, ...waiting]);
  expect(refusals.length).toBeGreaterThanOrEqual(16);
  expect(refusals[0]).toMatchObject({ code: 'OVERLOADED' });
  expect(refusals[0]?.details['retry_after_ms']).toBeGreaterThan(0);
});

test('a caller that left while it waited costs no hash', async () => {
  const hasher = hasherOf(60_000);
  const tasks = [held(), held()];
  const running = tasks.map(({ work }) => hasher.inTurn(undefined, work));
  const leaving = new AbortController();
  let begun = false;
  const left = hasher.inTurn(leaving.signal, async () => void (begun = true));
  leaving.abort();
  for (const { finish } of tasks) finish();
  await expect(left).rejects.toThrow('left');
  await Promise.all(running);
  expect(begun).toBe(false);
});

test('a failure gives its turn back', async () => {
  const hasher = hasherOf(60_000);
  for (let attempt = 0; attempt < 5; attempt++) {
    await expect(hasher.inTurn(undefined, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  }
  await expect(hasher.inTurn(undefined, async () => 'yes')).resolves.toBe('yes');
});

test('knows hashes of other parameters', async () => {
  const hash = await hasherOf(1).hash('a password');
  expect(hasherOf(1).isOutdated(hash)).toBe(false);
  const stronger = new PasswordHasher({ memoryKib: 128, passes: 1, concurrency: 1, queueMsMax: 1 });
  expect(stronger.isOutdated(hash)).toBe(true);
  await expect(stronger.verify(hash, 'a password')).resolves.toBe(true);
});
