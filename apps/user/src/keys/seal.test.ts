import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { seal, unseal } from './seal.js';

const key = randomBytes(32);
const secret = Buffer.from('a secret');

test('opens with its key and purpose alone, unchanged', () => {
  const sealed = seal(key, 'purpose', secret);
  expect(unseal(key, 'purpose', sealed)).toEqual(secret);
  expect(() => unseal(key, 'other', sealed)).toThrow();
  expect(() => unseal(randomBytes(32), 'purpose', sealed)).toThrow();
  for (let at = 0; at < sealed.length; at++) {
    const changed = Buffer.from(sealed);
    changed[at] = (changed[at] as number) ^ 1;
    expect(() => unseal(key, 'purpose', changed)).toThrow();
  }
});

test('the same secret is sealed differently each time', () => {
  expect(seal(key, 'purpose', secret).equals(seal(key, 'purpose', secret))).toBe(false);
});
