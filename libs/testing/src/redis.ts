import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort, spawnTethered } from '@sluice/launch';

const START_TIMEOUT_MS = 15_000;

/** A Redis of a test's own, without persistence. */
export interface TestRedis {
  readonly url: string;
  readonly port: number;
  /** Ends the server at once, as a crash would (SIGKILL). */
  kill(): Promise<void>;
  /** Stops and continues the process: connected clients see silence, not an error. */
  pause(): void;
  resume(): void;
  /** Starts the server again on the same port, empty. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** Why tests that need Redis cannot run here; undefined when they can. For the name of a `describe.skipIf`. */
export const redisMissing: string | undefined = (process.env.PATH ?? '')
  .split(delimiter)
  .some((folder) => existsSync(join(folder, 'redis-server')))
  ? undefined
  : 'no redis-server on PATH';

/**
 * Starts the `redis-server` that is on PATH on a free port of loopback.
 *
 * @param args further arguments, e.g. `['--maxmemory', '2mb']`
 * @throws when there is none, or it does not start
 */
export async function startRedis(args: readonly string[] = []): Promise<TestRedis> {
  if (redisMissing !== undefined) throw new Error(redisMissing);
  const folder = mkdtempSync(join(tmpdir(), 'sluice-redis-'));
  const port = await freePort();
  let running = await launch(folder, port, args);
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    async kill() {
      process.kill(running.pid, 'SIGKILL');
      await running.ended;
    },
    pause: () => void process.kill(running.pid, 'SIGSTOP'),
    resume: () => running.resume(),
    async restart() {
      running = await launch(folder, port, args);
    },
    async stop() {
      running.stop();
      // A paused process takes the signal when it goes on.
      running.resume();
      await running.ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

interface RunningRedis {
  pid: number;
  ended: Promise<void>;
  stop(): void;
  resume(): void;
}

async function launch(folder: string, port: number, args: readonly string[]): Promise<RunningRedis> {
  const logFile = join(folder, 'redis.log');
  const pidFile = join(folder, 'redis.pid');
  rmSync(pidFile, { force: true });
  const output = openSync(logFile, 'a');
  const common = [
    '--bind',
    '127.0.0.1',
    '--port',
    String(port),
    '--save',
    '',
    '--appendonly',
    'no',
    '--pidfile',
    pidFile,
  ];
  const child = spawnTethered('redis-server', [...common, '--dir', folder, ...args], { cwd: folder, output });
  closeSync(output);
  let hasEnded = false;
  const end = new Promise<void>((resolve) => {
    child.once('exit', () => {
      hasEnded = true;
      resolve();
    });
  });
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (!(await answers(port))) {
    if (hasEnded || Date.now() > deadline) {
      child.kill('SIGTERM');
      throw new Error(`redis-server did not start:\n${readFileSync(logFile, 'utf8')}`);
    }
    await delay(15);
  }
  const pid = Number(readFileSync(pidFile, 'utf8'));
  return {
    pid,
    ended: end,
    stop: () => void child.kill('SIGTERM'),
    resume: () => void (hasEnded || process.kill(pid, 'SIGCONT')),
  };
}

/** Whether a server answers PING. */
function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ port, host: '127.0.0.1' }, () => socket.write('PING\r\n'));
    socket.once('data', (data) => {
      resolve(data.toString().startsWith('+PONG'));
      socket.destroy();
    });
    socket.once('error', () => resolve(false));
  });
}
