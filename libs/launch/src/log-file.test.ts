import { closeSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { boundLogs, openLog, openLogOrNone } from './log-file.js';

const folder = mkdtempSync(join(tmpdir(), 'a log '));
afterAll(() => rmSync(folder, { recursive: true }));
const read = (path: string) => readFileSync(path, 'utf8');

test('a log that is being written to is set aside when it is too long, and goes on', async () => {
  const path = join(folder, 'deep/one.log');
  const log = openLog(path);
  writeSync(log, '12345\n');
  expect(await boundLogs([path], 6)).toEqual([]);
  expect(read(path)).toBe('12345\n');
  writeSync(log, '6\n');
  expect(await boundLogs([path], 6)).toEqual([]);
  writeSync(log, '7\n');
  expect([read(`${path}.1`), read(path)]).toEqual(['12345\n6\n', '7\n']);
  writeSync(log, '8901234\n');
  await boundLogs([path], 6);
  closeSync(log);
  expect([read(`${path}.1`), read(path)]).toEqual(['7\n8901234\n', '']);
});

test('a log that cannot be opened is reported, and the process goes on without', () => {
  const reports: string[] = [];
  writeFileSync(join(folder, 'file'), '');
  expect(openLogOrNone(join(folder, 'file/one.log'), (line) => reports.push(line))).toBe('ignore');
  expect(reports).toEqual([expect.stringMatching(/one\.log cannot be opened, .*: \w+/)]);
});

test('one that cannot be set aside is named with the reason and kept, and the others are', async () => {
  const path = join(folder, 'two.log');
  const other = join(folder, 'three.log');
  for (const each of [path, other]) {
    const log = openLog(each);
    writeSync(log, 'too long');
    closeSync(log);
  }
  mkdirSync(join(`${path}.1`, 'in the way'), { recursive: true });
  const faults = await boundLogs([path, other], 6);
  expect(faults).toHaveLength(1);
  expect(faults[0]).toContain(`${path} is longer than 6 bytes and cannot be set aside: `);
  expect([read(path), read(other)]).toEqual(['too long', '']);
});
