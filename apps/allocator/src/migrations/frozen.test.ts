import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { sqlFunctions } from '../batch/functions.js';

/** SHA-256 of each migration that has landed, and of all it is made of: the files import nothing but types and Node. */
const landed: Readonly<Record<string, string>> = {
  '1732300000000-budget.ts': '62461cfeb11d69799226f50a653758dd4c7b9e0a6c3525f3a42adc55d0a98433',
  '1732400000000-usual-results.ts': '4df4bb76c2339076998a4c77c3c8240c00a77423a11a7d49efbee4b828082ab6',
  '1732500000000-allocation-keys.ts': '30dd160a60a61818c0d0e370892a5f37155668a204846ad5098f7ca23decf8b5',
  '1764500000000-callers.ts': 'b452f2d29436b2e65aa49de728119544b0c14ea6df273c4b99f11f96a54df77f',
  '1764547200000-functions.ts': 'aa8b3f4525c24125c77cd61b02f105471f6a40a45fde405faebaeab175a57b62',
  '1764550800000-accounts.ts': 'c65c95b091b072464ddc39efbc7235aedaaaf7995990b829c30456f901cc88b8',
  '1764552600000-periods-ahead.ts': 'e6d4556ab977caa628ce2d4bc11fbf68a545b12497e8a5af78d0952ce81e0293',
};

/** The functions by version: whoever changes a text gives it the next version and adds its hash here. */
const functions: Readonly<Record<string, string>> = {
  'apply_batch 1': '5e5e6b495f3710752f7c1034e64c2aae143f7fee2f4b75066aecb26eab836f4a',
  'apply_operations 1': '23b2f7e9479fc025ff3037764d4f1f36a8ef647a7d10b94d4e4f523397bb11b6',
  'accounts 1': '0b5bb19abbd0c972cd6376337848c50ae0810d3ae28ab251c9cc131db88feba5',
  'apply_batch 2': '39b6621405f5bfd168e99436457f871c8f0c8df269622eb49301d5d9a13ab254',
  'accounts 2': 'a04682764db3d83f52095c0d5b1f1afa9194e0a8777cea272e1f155b11bf46dc',
  'apply_operations 2': '76c80d7064a24620014b12823f420376f3f99454c95b3b58fe3b04cda61649b1',
};

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
const folder = new URL('./', import.meta.url);
const read = (file: string) => readFileSync(new URL(file, folder), 'utf8');
const files = readdirSync(folder).filter((file) => /^\d+-.*\.ts$/.test(file));

it('no migration that has landed has changed', () => {
  expect(Object.fromEntries(files.map((file) => [file, sha256(read(file))]))).toEqual(landed);
});

it.each(files)('%s imports no text that could change behind it', (file) => {
  const imports = [...read(file).matchAll(/^import .* from '(.+)';$/gm)].map(([, from]) => from);
  expect(imports.filter((from) => from !== 'typeorm' && !from?.startsWith('node:'))).toEqual([]);
});

it('a function whose text has changed has a version of its own', () => {
  for (const { name, version, hash } of sqlFunctions()) expect(functions[`${name} ${version}`], name).toBe(hash);
});
