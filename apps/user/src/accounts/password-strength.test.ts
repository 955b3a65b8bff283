import { expect, test } from 'vitest';
import type { UserSettings } from '../settings.js';
import { PasswordStrength } from './password-strength.js';

const strength = (least: number) => new PasswordStrength({ PASSWORD_STRENGTH_MIN: least } as UserSettings);
const own = ['ada.lovelace@example.com', 'Ada Lovelace'];

test.each([
  'password',
  '12345678',
  'qwertyuiop',
  'iloveyou1',
  'Passw0rd!',
  'P@ssw0rd',
  'aaaaaaaaaaaa',
  '語'.repeat(20),
  'abcdefgh',
  'abcabcabcabc',
  'ada.lovelace@example.com',
  'lovelace',
  'AdaLovelace1',
  'adalovelace',
  'x'.repeat(256),
  'password'.repeat(8),
])('%j is refused as a new password, and not shown', async (password) => {
  const refused = strength(2).check(password, own);
  await expect(refused).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', details: { field: 'password' } });
  await expect(refused).rejects.toThrow(
    /^password is guessed too easily: [a-z, :;]*your own name or address; [a-z ]*\.$/,
  );
});

test.each([
  'correct horse battery',
  'kX9#mQ2v',
  'pässwörter am meer',
  '春眠不覚暁処処聞啼鳥',
  'before\0after, somehow',
])('%j is taken', async (password) => {
  await expect(strength(2).check(password, own)).resolves.toBeUndefined();
});

test('how strong it must be is a setting', async () => {
  await expect(strength(0).check('password', own)).resolves.toBeUndefined();
  await expect(strength(4).check('kX9#mQ2v', own)).rejects.toMatchObject({ details: { field: 'password' } });
});

test('no password takes long to look at', async () => {
  const checker = strength(2);
  await checker.check('to have it loaded', own);
  const shapes = ['password', 'p@$$w0rd', 'aA1!', 'qwerty', '2026-11-30', 'zxcvbnm,./', '1a2b3c', '@4(3'];
  const slowest = { ms: 0 };
  for (const shape of shapes) {
    const started = performance.now();
    await checker.check(shape.repeat(64).slice(0, 256), own).catch(() => undefined);
    slowest.ms = Math.max(slowest.ms, performance.now() - started);
  }
  expect(slowest.ms).toBeLessThan(2000);
});
