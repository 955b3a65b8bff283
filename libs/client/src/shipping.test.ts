import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import ts from 'typescript';
import { build } from 'vite';
import { expect, test } from 'vitest';

const folder = fileURLToPath(new URL('..', import.meta.url));
const root = join(folder, '../..');

/** What a bundler makes of an entry, minified. */
async function bundle(entry: string): Promise<string> {
  const work = mkdtempSync(join(folder, '.bundle-'));
  try {
    writeFileSync(join(work, 'entry.ts'), entry);
    const output = await build({
      root: work,
      configFile: false,
      logLevel: 'silent',
      build: { write: false, minify: true, lib: { entry: join(work, 'entry.ts'), formats: ['es'] } },
    });
    const [{ output: chunks }] = output as unknown as [{ output: { code: string }[] }];
    return chunks.map(({ code }) => code).join('');
  } finally {
    rmSync(work, { recursive: true });
  }
}

test('what a program uses is under 10 KB gzipped (11 in a mini-program), for any runtime, and leaves out what is not used', async () => {
  const all = await bundle(`export * from '../src/index.js';`);
  expect(gzipSync(all).length).toBeLessThan(13_000);
  expect(all).not.toMatch(/from\s*["']|import\(|require\(/);
  const common = 'createClient, SluiceError, retryAfterMs, messagesOf';
  for (const platform of ['localStorageStore, webLock', 'fileStore, fileLock', 'weChat']) {
    const used = await bundle(`export { ${common}, ${platform} } from '../src/index.js';`);
    expect(gzipSync(used).length, platform).toBeLessThan(platform === 'weChat' ? 11_000 : 10_000);
    if (!platform.startsWith('file')) expect(used).not.toContain('getBuiltinModule');
    if (platform !== 'weChat') expect(used).not.toContain('getStorageSync');
  }
});

test('the types are what the contract gives', async () => {
  const script = new URL('../scripts/api-types.mjs', import.meta.url).href;
  const { apiFile } = (await import(script)) as { apiFile(): Promise<string> };
  expect(readFileSync(join(folder, 'src/generated/api.ts'), 'utf8')).toBe(await apiFile());
});

test('the examples of the README compile', () => {
  const readme = readFileSync(join(folder, 'README.md'), 'utf8');
  const examples = [...readme.matchAll(/^```ts\n([^]*?)^```/gm)].map(([, code]) => code as string);
  expect(examples.length).toBeGreaterThan(4);
  const work = mkdtempSync(join(folder, '.readme-'));
  try {
    const files = examples.map((code, index) => {
      const file = join(work, `example-${index}.ts`);
      writeFileSync(file, `${code}\nexport {};\n`);
      return file;
    });
    const program = ts.createProgram(files, {
      target: ts.ScriptTarget.ES2024,
      lib: ['lib.es2024.d.ts', 'lib.dom.d.ts'],
      module: ts.ModuleKind.NodeNext,
      moduleResolution: ts.ModuleResolutionKind.NodeNext,
      customConditions: ['sluice-source'],
      types: ['node'],
      typeRoots: [join(root, 'node_modules/@types')],
      strict: true,
      noEmit: true,
      skipLibCheck: true,
    });
    const faults = ts
      .getPreEmitDiagnostics(program)
      .map(({ messageText, file }) => `${file?.fileName}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`);
    expect(faults).toEqual([]);
  } finally {
    rmSync(work, { recursive: true });
  }
});
