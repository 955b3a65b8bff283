import { writeSync } from 'node:fs';

/** Lines below a warning wait this long for others to go with, in milliseconds: under load a write costs more than a line. */
const GATHER_MS = 20;
const GATHERED_CHARACTERS_MAX = 8192;
const WARN = 40;

/** A reader that is slow is waited for this long at a time and in all; then lines are dropped until it reads again. In milliseconds. */
const SLOW_STEP_MS = 10;
const SLOW_MS_MAX = 2000;

/** Lines that were dropped since the start, by why: the code of the error, for example ENOSPC. */
export type DroppedLines = ReadonlyMap<string, number>;

/** Writes octets to where the log goes. @returns how many were taken @throws as `fs.writeSync` does */
export type WriteOctets = (octets: Buffer, from: number) => number;

/**
 * Where the lines of a process go: gathered, in order, and never the end of the process. What cannot be written (a full disk, a
 * closed pipe) is dropped and counted; the first line that can be written again says how many were lost.
 *
 * A process that is killed loses the lines of the last moment, but for warnings and what came before them.
 */
export class LogOutput {
  /** Where pino puts the severity of the line that it is about to write. */
  lastLevel = 0;
  private readonly lost = new Map<string, number>();
  /** Lost and not told yet. */
  private untold = 0;
  private lines = '';
  private timer: NodeJS.Timeout | undefined;
  /** The last write ended within a line. */
  private torn = false;
  private slow = false;

  constructor(private readonly writeOctets: WriteOctets = (octets, from) => writeSync(1, octets, from)) {}

  get dropped(): DroppedLines {
    return this.lost;
  }

  readonly write = (line: string): void => {
    this.lines += line;
    if (this.lastLevel >= WARN || this.lines.length >= GATHERED_CHARACTERS_MAX) this.flush();
    else this.timer ??= setTimeout(this.flush, GATHER_MS).unref();
  };

  readonly flush = (): void => {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.lines === '') return;
    const note = this.note();
    const octets = Buffer.from(note + this.lines);
    this.lines = '';
    let written = 0;
    try {
      while (written < octets.length) written += this.writeOnce(octets, written);
      this.torn = false;
      this.untold = 0;
    } catch (error) {
      this.drop(octets, Buffer.byteLength(note), written, error);
    }
  };

  /** The end of a torn line, and what was lost since the last line that was written. */
  private note(): string {
    const end = this.torn ? '\n' : '';
    if (this.untold === 0) return end;
    const reasons = JSON.stringify(Object.fromEntries(this.lost));
    const time = new Date().toISOString();
    return `${end}{"level":"warn","time":"${time}","dropped":${this.untold},"since_start":${reasons},"msg":"lines of this log could not be written"}\n`;
  }

  /** Waits for a slow reader, within bounds. */
  private writeOnce(octets: Buffer, from: number): number {
    for (let waited = 0; ; waited += SLOW_STEP_MS) {
      try {
        const taken = this.writeOctets(octets, from);
        this.slow = false;
        return taken;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
        if (this.slow || waited >= SLOW_MS_MAX) {
          this.slow = true;
          throw error;
        }
        Atomics.wait(sleeper, 0, 0, SLOW_STEP_MS);
      }
    }
  }

  /** A line of which a part was written is lost as well; the note, which comes first, is made anew. */
  private drop(octets: Buffer, note: number, written: number, error: unknown): void {
    const code = (error as NodeJS.ErrnoException).code ?? 'UNKNOWN';
    let lines = 0;
    for (let at = octets.indexOf(10, Math.max(note, written)); at >= 0; at = octets.indexOf(10, at + 1)) lines++;
    if (written > 0) this.torn = octets[written - 1] !== 10;
    this.untold = written < note ? this.untold + lines : lines;
    this.lost.set(code, (this.lost.get(code) ?? 0) + lines);
  }
}

const sleeper = new Int32Array(new SharedArrayBuffer(4));
