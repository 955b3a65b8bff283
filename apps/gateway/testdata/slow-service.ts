import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** A service in a process of its own, with so many workers, each of whom takes so long for a call. */
export interface SlowService {
  readonly address: string;
  /** From now on every worker takes so long, in milliseconds; 0: they stand still. */
  setCost(ms: number): void;
  stop(): void;
}

export async function startSlowService(workers: number, costMs: number): Promise<SlowService> {
  const script = fileURLToPath(new URL('slow-service-process.mjs', import.meta.url));
  const child: ChildProcess = fork(script, [String(workers), String(costMs)], { execArgv: [] });
  const [{ port }] = (await once(child, 'message')) as [{ port: number }];
  return {
    address: `127.0.0.1:${port}`,
    setCost: (ms) => void child.send({ costMs: ms }),
    stop: () => void child.kill(),
  };
}
