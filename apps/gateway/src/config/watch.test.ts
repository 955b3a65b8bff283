import { mkdtempSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { watchFiles } from './watch.js';

let directory: string;
let stop: () => void;
beforeEach(() => void (directory = mkdtempSync(join(tmpdir(), 'sluice-watch-'))));
afterEach(() => {
  stop();
  rmSync(directory, { recursive: true });
});

it.each<[string, (file: string) => void]>([
  ['written', (file) => writeFileSync(file, 'b, longer')],
  ['touched', (file) => utimesSync(file, 1, 1)],
  ['replaced', (file) => (writeFileSync(`${file}.new`, 'a'), renameSync(`${file}.new`, file))],
  ['removed', (file) => rmSync(file)],
  ['swapped for a link', (file) => (rmSync(file), symlinkSync('/dev/null', file))],
])('a file that is %s at once after the watch begins is noticed, once', async (_, change) => {
  const file = join(directory, 'a');
  writeFileSync(file, 'a');
  const changes: string[] = [];
  stop = watchFiles([file, file, join(directory, 'absent')], (name) => void changes.push(name));
  change(file);
  await expect.poll(() => changes, { timeout: 10_000 }).toEqual([file]);
});

it('a file that comes into being is noticed', async () => {
  const file = join(directory, 'later');
  const changes: string[] = [];
  stop = watchFiles([file], (name) => void changes.push(name));
  writeFileSync(file, '');
  await expect.poll(() => changes, { timeout: 10_000 }).toEqual([file]);
});
