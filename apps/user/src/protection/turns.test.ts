import { expect, test } from 'vitest';
import { Turns } from './turns.js';

test('work of one key is done one after another, in order, past failures; other keys do not wait', async () => {
  const turns = new Turns();
  const begun: string[] = [];
  let release = () => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  const first = turns.take('a', async () => {
    begun.push('first');
    await held;
    throw new Error('failed');
  });
  const failed = expect(first).rejects.toThrow('failed');
  const second = turns.take('a', async () => void begun.push('second'));
  await turns.take('b', async () => void begun.push('other'));
  expect(begun).toEqual(['first', 'other']);
  release();
  await Promise.all([failed, second]);
  expect(begun).toEqual(['first', 'other', 'second']);
});

test('what waits is bounded, and room comes back', async () => {
  const turns = new Turns();
  let release = () => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  const waiting = Array.from({ length: 500 }, () => turns.take('a', () => held));
  await expect(turns.take('a', () => held)).rejects.toMatchObject({ code: 'OVERLOADED' });
  release();
  await Promise.all(waiting);
  await expect(turns.take('a', async () => 'again')).resolves.toBe('again');
});
