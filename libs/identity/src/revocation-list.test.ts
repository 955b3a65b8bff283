import { expect, test } from 'vitest';
import { RevocationList } from './index.js';

test('a session is revoked until its time, and the later time of two counts', () => {
  const list = new RevocationList();
  list.apply([{ sessionId: 'a', untilMs: 1000 }], 'cursor-1', 0);
  list.apply([{ sessionId: 'a', untilMs: 500 }], 'cursor-2', 0);
  expect(list.isRevoked('a', 999)).toBe(true);
  expect(list.isRevoked('a', 1000)).toBe(false);
  expect(list.isRevoked('b', 0)).toBe(false);
  expect(list.cursor).toBe('cursor-2');
});

test('what has run out is forgotten', () => {
  const list = new RevocationList();
  list.apply([{ sessionId: 'a', untilMs: 1000 }], '', 0);
  list.apply([{ sessionId: 'b', untilMs: 90_000 }], '', 60_000);
  expect(list.size).toBe(1);
});

test('a message without revocations says that the list is current', () => {
  const list = new RevocationList();
  expect(list.ageMs(0)).toBe(Number.POSITIVE_INFINITY);
  list.apply([], '', 100);
  expect(list.ageMs(350)).toBe(250);
});
