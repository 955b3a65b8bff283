import { closeSync, fstatSync, mkdirSync, openSync, readSync, renameSync, statSync } from 'node:fs';
import { copyFile, rm, stat, truncate } from 'node:fs/promises';
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

/** As {@link openLog}; on a full disk or where nothing may be written the process goes on without a log, which is reported. */
export function openLogOrNone(path: string, report: (message: string) => void): number | 'ignore' {
  try {
    return openLog(path);
  } catch (error) {
    report(`${path} cannot be opened, so there is no log until the next start: ${(error as Error).message}`);
    return 'ignore';
  }
}

/** So much may stand in a log that is being written to before it is set aside. */
const OPEN_LOG_BYTES_MAX = 100_000_000;

/**
 * Sets aside, as `.1`, logs that have grown too long while processes append to them, which then go on at their start. What is written between the copy and the cut is lost.
 *
 * @returns one line for each that could not be, with the reason
 */
export async function boundLogs(paths: readonly string[], bytesMax = OPEN_LOG_BYTES_MAX): Promise<string[]> {
  const faults: string[] = [];
  for (const path of paths) {
    try {
      const found = await stat(path).catch(() => undefined);
      if (found === undefined || found.size <= bytesMax) continue;
      // First the older one: where the disk is full, it makes room.
      await rm(`${path}.1`, { force: true });
      await copyFile(path, `${path}.1`);
      await truncate(path);
    } catch (error) {
      faults.push(`${path} is longer than ${bytesMax} bytes and cannot be set aside: ${(error as Error).message}`);
    }
  }
  return faults;
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
