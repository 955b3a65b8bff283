import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/** How much of the end of a log is looked at. */
const TAIL_BYTES = 16_384;

/** The last `count` lines of a file, or a note that there are none. */
export function lastLines(path: string, count: number): string {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch {
    return '(no log)';
  }
  try {
    const { size } = fstatSync(file);
    const tail = Buffer.alloc(Math.min(size, TAIL_BYTES));
    readSync(file, tail, 0, tail.length, size - tail.length);
    return tail.toString('utf8').trimEnd().split('\n').slice(-count).join('\n') || '(the log is empty)';
  } finally {
    closeSync(file);
  }
}
