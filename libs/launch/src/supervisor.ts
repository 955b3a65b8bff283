import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { indent, lastLines, openLogOrNone } from './log-file.js';
import { NODE_ARGUMENTS } from './node-arguments.js';
import type { Instance } from './plan.js';
import { restartPolicy, type RestartLimits } from './restart-policy.js';
import { ended } from './tethered-process.js';

const READY_POLL_MS = 40;
const LOG_LINES_SHOWN = 12;

/** Loaded into every child; the path is the same from the source and from the build. */
const FOLLOW_PARENT = new URL('../follow-parent.mjs', import.meta.url).href;

export interface Supervision {
  /** The repository, the working folder of every process. */
  root: string;
  /** Logs go to `<logFolder>/<name>/<name>-service.log`. */
  logFolder: string;
  /** How long a process may take from its start to answer /readyz with 200. */
  readyTimeoutMs: number;
  /** How long a process may take to end after SIGTERM, before SIGKILL. */
  stopTimeoutMs: number;
  restarts: RestartLimits;
  /** Told of every death and restart. */
  report(message: string): void;
  /** A process could not be kept alive. */
  onGivenUp(name: string): void;
}

/** One process of the system. */
export interface ManagedProcess {
  readonly name: string;
  readonly instance: Instance;
  readonly logFile: string;
  /** The current process id; undefined between a death and the next start. */
  readonly pid: number | undefined;
  start(): void;
  /**
   * Resolves when /readyz answers 200. From then on the process is started again when it dies.
   *
   * @throws with the last log lines when it ends before it was ever ready, or takes too long
   */
  ready(): Promise<void>;
  /** Sends a signal that ends the process, and resolves when it has ended. It counts as a death: it is started again. */
  kill(signal: NodeJS.Signals): Promise<void>;
  /** Ends the process for good: SIGTERM, and SIGKILL after `stopTimeoutMs`. */
  stop(): Promise<void>;
}

/** A process of `instance`, not yet started. */
export function manage(instance: Instance, env: NodeJS.ProcessEnv, options: Supervision): ManagedProcess {
  const { name, spec } = instance;
  const logFile = join(options.logFolder, spec.name, `${name}-service.log`);
  const entry = join('apps', spec.name, 'dist/main.js');
  const nextDelay = restartPolicy(options.restarts);
  let child: ChildProcess | undefined;
  let end: Promise<string> = Promise.resolve('was not started');
  let wanted = false;
  let supervised = false;

  function start(): void {
    wanted = true;
    const output = openLogOrNone(logFile, options.report);
    const started = spawn(process.execPath, [...NODE_ARGUMENTS, `--import=${FOLLOW_PARENT}`, entry], {
      cwd: options.root,
      env: { ...env, ...instance.env },
      stdio: ['ignore', output, output, 'ipc'],
      // A Ctrl-C at the terminal reaches the whole foreground group; the order of stopping is ours.
      detached: true,
    });
    if (output !== 'ignore') closeSync(output);
    child = started;
    end = ended(started);
    void end.then((how) => {
      child = undefined;
      if (wanted && supervised) void restart(how);
    });
  }

  async function restart(how: string): Promise<void> {
    const log = `the end of ${logFile}:\n${indent(lastLines(logFile, LOG_LINES_SHOWN))}`;
    const wait = nextDelay();
    if (wait === undefined) {
      options.report(`${name} ${how} again and is given up; ${log}`);
      options.onGivenUp(name);
      return;
    }
    options.report(`${name} ${how}; it starts again in ${wait / 1000} s and the others go on; ${log}`);
    await delay(wait);
    if (!wanted) return;
    start();
    const { pid } = child!;
    await ready().then(
      () => child?.pid === pid && options.report(`${name} is ready again`),
      (error: unknown) => wanted && options.report((error as Error).message),
    );
  }

  async function ready(): Promise<void> {
    const deadline = Date.now() + options.readyTimeoutMs;
    let how: string | undefined;
    void end.then((phrase) => (how = phrase));
    while (!(await answersReady(instance.adminUrl))) {
      const lost = how !== undefined && !supervised;
      if (lost || Date.now() > deadline) {
        const what = lost ? how : `was not ready after ${options.readyTimeoutMs / 1000} s`;
        throw new Error(`${name} ${what}; the end of ${logFile}:\n${indent(lastLines(logFile, LOG_LINES_SHOWN))}`);
      }
      await delay(READY_POLL_MS);
    }
    supervised = true;
  }

  return {
    name,
    instance,
    logFile,
    get pid() {
      return child?.pid;
    },
    start,
    ready,
    async kill(signal) {
      child?.kill(signal);
      await end;
    },
    async stop() {
      wanted = false;
      const current = child;
      if (current === undefined) return;
      current.kill('SIGTERM');
      const force = setTimeout(() => {
        options.report(`${name} did not end within ${options.stopTimeoutMs / 1000} s of SIGTERM and is killed`);
        current.kill('SIGKILL');
      }, options.stopTimeoutMs);
      await end;
      clearTimeout(force);
    },
  };
}

/** Stops all: those who call before those who are called. */
export async function stopInOrder(processes: readonly ManagedProcess[]): Promise<void> {
  const ranks = [...new Set(processes.map(({ instance }) => instance.spec.stopRank))].sort((a, b) => a - b);
  for (const rank of ranks) {
    const these = processes.filter(({ instance }) => instance.spec.stopRank === rank);
    await Promise.all(these.map((process) => process.stop()));
  }
}

async function answersReady(adminUrl: string): Promise<boolean> {
  try {
    const response = await fetch(`${adminUrl}/readyz`, { signal: AbortSignal.timeout(2_000) });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}
