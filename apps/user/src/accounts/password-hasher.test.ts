import { expect, test } from 'vitest';
import { PasswordHasher } from './password-hasher.js';

const hasherOf = (queueMsMax: number) => new PasswordHasher({ memoryKib: 64, passes: 1, concurrency: 2, queueMsMax });

test('knows hashes of other parameters', async () => {
  const hash = await hasherOf(1).hash('a password');
  expect(hasherOf(1).isOutdated(hash)).toBe(false);
  const stronger = new PasswordHasher({ memoryKib: 128, passes: 1, concurrency: 1, queueMsMax: 1 });
  expect(stronger.isOutdated(hash)).toBe(true);
  await expect(stronger.verify(hash, 'a password')).resolves.toBe(true);
});
