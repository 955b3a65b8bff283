import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { openSecretFiles } from './secret-files.js';

const folder = mkdtempSync(join(tmpdir(), 'sluice secrets '));
afterAll(() => rmSync(folder, { recursive: true }));
const mode = (path: string) => statSync(path).mode & 0o777;

test('a secret is 32 random bytes, kept from one start to the next, and readable by its owner alone', () => {
  const files = openSecretFiles(join(folder, 'secrets'));
  const value = files.value('key');
  expect(Buffer.from(value, 'base64')).toHaveLength(32);
  expect(openSecretFiles(join(folder, 'secrets')).value('key')).toBe(value);
  expect(files.value('other')).not.toBe(value);
  expect(mode(files.path('key'))).toBe(0o600);
  expect(mode(join(folder, 'secrets'))).toBe(0o700);
});

test('what is stored replaces what was there', () => {
  const files = openSecretFiles(join(folder, 'secrets'));
  files.store('url', 'postgres://a');
  expect(readFileSync(files.store('url', 'postgres://b'), 'utf8')).toBe('postgres://b\n');
});
