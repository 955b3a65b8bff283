import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { readFileSync } from 'node:fs';

/**
 * Its header says what it does. The path is the same from the source and from the build. The text is handed over rather than the
 * path, because the account that runs it may not be able to enter the checkout.
 */
const TETHER = readFileSync(new URL('../tether.sh', import.meta.url), 'utf8');

export interface TetheredOptions {
  cwd: string;
  /** Where standard output and error go: a descriptor of an open file, or nowhere. */
  output?: number | 'ignore';
  env?: NodeJS.ProcessEnv;
  /** The account to run as; only root can choose. */
  uid?: number;
  gid?: number;
}

/**
 * Starts `command` in a process group of its own (a Ctrl-C at the terminal does not reach it), tied to the life of this process.
 * SIGINT or SIGTERM to the returned process interrupts the program; its exit code is passed on.
 */
export function spawnTethered(command: string, args: readonly string[], options: TetheredOptions): ChildProcess {
  const output = options.output ?? 'ignore';
  const stdio: StdioOptions = ['ignore', output, output, 'pipe'];
  const { cwd, env, uid, gid } = options;
  return spawn('/bin/sh', ['-c', TETHER, 'tether', command, ...args], { cwd, env, uid, gid, stdio, detached: true });
}

/** Resolves when the process has ended, with a phrase that says how. */
export function ended(child: ChildProcess): Promise<string> {
  if (child.exitCode !== null || child.signalCode !== null) {
    return Promise.resolve(describeEnd(child.exitCode, child.signalCode));
  }
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve(describeEnd(code, signal)));
    child.once('error', (error) => resolve(error.message));
  });
}

function describeEnd(code: number | null, signal: NodeJS.Signals | null): string {
  return signal === null ? `ended with code ${code ?? 'unknown'}` : `was ended by ${signal}`;
}
