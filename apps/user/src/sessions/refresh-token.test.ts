import { randomBytes, randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatRefreshToken, parseRefreshToken } from './refresh-token.js';

const secret = randomBytes(32);

test('what is formatted is parsed', () => {
  fc.assert(
    fc.property(fc.uuid(), fc.nat({ max: 2 ** 32 - 1 }), (sessionId, generation) => {
      const text = formatRefreshToken(secret, { sessionId, generation });
      expect(text).toHaveLength(74);
      expect(parseRefreshToken(secret, text)).toEqual({ sessionId, generation });
    }),
  );
});

test('no text that differs in one character is one, and none of another secret', () => {
  const text = formatRefreshToken(secret, { sessionId: randomUUID(), generation: 7 });
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=. ';
  for (let at = 0; at < text.length; at++) {
    for (const other of alphabet) {
      if (other === text[at]) continue;
      expect(parseRefreshToken(secret, text.slice(0, at) + other + text.slice(at + 1))).toBeUndefined();
    }
  }
  expect(parseRefreshToken(randomBytes(32), text)).toBeUndefined();
  expect(parseRefreshToken(secret, `${text}A`)).toBeUndefined();
});
