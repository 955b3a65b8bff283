import { closeSync, fstatSync, mkdirSync, openSync, readSync, renameSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/** How much of the end of a log is looked at. */
const TAIL_BYTES = 16_384;
/** A log longer than this is set aside as `.1` when it is opened again. */
const LOG_BYTES_MAX = 20_000_000;

/** A descriptor to append to; its folder is made. */
export function openLog(path: string): number {
  mkdirSync(dirname(path), { recursive: true });
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) > LOG_BYTES_MAX) renameSync(path, `${path}.1`);
  return openSync(path, 'a', 0o640);
}

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

export function indent(text: string): string {
  return text.replace(/^/gm, '    ');
}
