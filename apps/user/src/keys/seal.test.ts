import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { seal, unseal } from './seal.js';

const key = randomBytes(32);
/** Of Node's cipher, or of the form. */
const refusal = /authenticate|not a sealed secret/;
const secret = Buffer.from('a secret');

test('opens with its key and purpose alone, unchanged', () => {
  const sealed = seal(key, 'purpose', secret);
  expect(unseal(key, 'purpose', sealed)).toEqual(secret);
  expect(() => unseal(key, 'other', sealed)).toThrow(refusal);
  expect(() => unseal(randomBytes(32), 'purpose', sealed)).toThrow(refusal);
  for (let at = 0; at < sealed.length; at++) {
    const changed = Buffer.from(sealed);
    changed[at] = (changed[at] as number) ^ 1;
    expect(() => unseal(key, 'purpose', changed)).toThrow(refusal);
  }
});

test('the same secret is sealed differently each time', () => {
  expect(seal(key, 'purpose', secret).equals(seal(key, 'purpose', secret))).toBe(false);
});
