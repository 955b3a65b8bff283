import { fork, type ChildProcess, type ForkOptions } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { loopbackAddress } from '../../load/address-pool.js';
import { transport } from '../transport.js';
import type { GuestStormOptions } from './options.js';
import { judgeGuestStorm, type GuestStormReport } from './report.js';
import { STORY, type Burst, type Occasion } from './story.js';
import type { Asked, OccasionOutcome, Service } from './worker.js';

const WORKER = fileURLToPath(new URL('./worker.js', import.meta.url));
/** As a program of its own, whatever this process was started with. */
const STARTED_AS: ForkOptions = { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], execArgv: [] };
/** Source addresses of the two legs, far from those that other runs take first. */
const WITH_CLIENT = 60_000;
const WITHOUT_CLIENT = 60_001;

/**
 * Lets the services of the story ask whenever they would, first with the client, then without one.
 *
 * @param workerFile what each service runs, compiled
 */
export async function simulateGuestStorm(options: GuestStormOptions, workerFile = WORKER): Promise<GuestStormReport> {
  const outcomes = await withClient(options, workerFile);
  const naive = options.compare ? await withoutClient(options) : undefined;
  return judgeGuestStorm({ options, outcomes, naive });
}

async function withClient(options: GuestStormOptions, workerFile: string): Promise<OccasionOutcome[]> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-guest-storm-'));
  const service: Service = { apiUrl: options.apiUrl, folder, localAddress: addressOf(options, WITH_CLIENT) };
  const outcomes: OccasionOutcome[] = [];
  try {
    for (const [index, burst] of STORY.entries()) {
      if (index > 0) await delay(options.pauseSeconds * 1000);
      outcomes.push(...(await runBurst(burst, options.processes, service, workerFile)));
    }
    return outcomes;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** As many processes as there are; each goes on with the next occasion, and a restart is another process. */
async function runBurst(
  burst: Burst,
  processes: number,
  service: Service,
  workerFile: string,
): Promise<OccasionOutcome[]> {
  const waiting = [...burst.occasions];
  const outcomes: OccasionOutcome[] = [];
  const runner = async () => {
    let child: ChildProcess | undefined;
    try {
      for (let occasion = waiting.shift(); occasion !== undefined; occasion = waiting.shift()) {
        if (child !== undefined && occasion.cause === 'service_restart') child = await stop(child);
        child ??= fork(workerFile, [JSON.stringify(service)], STARTED_AS);
        outcomes.push(await tell(child, occasion));
      }
    } finally {
      if (child !== undefined) await stop(child);
    }
  };
  await Promise.all(Array.from({ length: processes }, runner));
  return outcomes;
}

async function tell(child: ChildProcess, occasion: Occasion): Promise<OccasionOutcome> {
  const gone = new AbortController();
  const exit = once(child, 'exit', { signal: gone.signal }).then(() => {
    throw new Error('a process of the storm ended before its time; its error stands above');
  });
  try {
    child.send(occasion);
    const [outcome] = (await Promise.race([once(child, 'message', { signal: gone.signal }), exit])) as [
      OccasionOutcome,
    ];
    return outcome;
  } finally {
    gone.abort();
    exit.catch(() => undefined);
  }
}

async function stop(child: ChildProcess): Promise<undefined> {
  if (child.exitCode !== null || !child.connected) return undefined;
  const exit = once(child, 'exit');
  child.send('stop');
  await exit;
  return undefined;
}

/** The same occasions by a program that keeps nothing: each asks, as a device of its own. */
async function withoutClient(options: GuestStormOptions): Promise<readonly Asked[]> {
  const { send, agent } = transport({ concurrency: 1 }, addressOf(options, WITHOUT_CLIENT));
  const asked: Asked[] = [];
  const run = Math.random().toString(36).slice(2);
  try {
    for (const [index, { cause }] of STORY.flatMap(({ occasions }) => occasions).entries()) {
      const response = await send(`${options.apiUrl}/auth/guest`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ device_id: `storm-${run}-${index}`, cause }),
      });
      const body = (await response.json().catch(() => ({}))) as { session_id?: string; details?: { policy?: string } };
      asked.push({ status: response.status, sessionId: body.session_id ?? '', policy: body.details?.policy ?? '' });
    }
    return asked;
  } finally {
    await agent.close();
  }
}

/** On this machine each leg has an address of its own, so that neither takes the other's share. */
function addressOf({ apiUrl }: GuestStormOptions, index: number): string | undefined {
  return new URL(apiUrl).hostname.startsWith('127.') ? loopbackAddress(index) : undefined;
}
