import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { leaksIn, noteSecrets } from './log-scan.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-scan-'));
  mkdirSync(join(folder, 'user'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const log = (text: string) => writeFileSync(join(folder, 'user/user.log'), `{"msg":"call"}\n${text}\n`);

test.each([
  ['a password', 'correct horse'],
  ['an address', 'scan@example.com'],
  ['a token of an answer', 'opaque-token-1'],
  ['a secret of the installation', 'of the installation'],
  ['a refresh token', `srt_${'a'.repeat(70)}`],
  ['an access token', `eyJ${'a'.repeat(9)}.eyJ${'a'.repeat(9)}.${'a'.repeat(9)}`],
  ['a hash', '$argon2id$v=19$m=64,t=1,p=1$c2FsdA$aGFzaA'],
])('%s is found, with its file and line', (_name, secret) => {
  noteSecrets({ password: 'correct horse', nested: [{ email: 'scan@example.com', access_token: 'opaque-token-1' }] });
  log('{"msg":"fine","device":"mine"}');
  expect(leaksIn(folder, ['of the installation'])).toEqual([]);
  log(`{"err":{"parameters":["${secret}"]}}`);
  expect(leaksIn(folder, ['of the installation'])[0]).toMatch(/user\/user\.log:2 shows /);
});
