import type { Channel } from '@sluice/wire';
import type { Runtime } from './runtime.js';

/** How often it is looked whether the last call of a replaced configuration has ended, in milliseconds. */
const LOOK_EVERY_MS = 1000;
/** What is no client's call, such as a question about health, may still run for so long, in milliseconds. */
const GRACE_MS = 5000;

/**
 * Configurations that were replaced while calls still run by them. A channel that none of them and not the current one uses any more
 * is closed; until then streams go on for as long as they may.
 */
export class RetiredRuntimes {
  private readonly runtimes = new Set<Runtime>();
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly current: () => Runtime) {}

  add(runtime: Runtime): void {
    this.runtimes.add(runtime);
    this.timer ??= setInterval(() => this.sweep(), LOOK_EVERY_MS).unref();
  }

  /** Closes what is left. */
  async close(graceMs: number): Promise<void> {
    clearInterval(this.timer);
    await Promise.all([...channelsOf(this.runtimes)].map((channel) => channel.close(graceMs)));
  }

  private sweep(): void {
    const idle = [...this.runtimes].filter(({ inFlight }) => inFlight.calls === 0);
    for (const runtime of idle) this.runtimes.delete(runtime);
    const inUse = channelsOf([this.current(), ...this.runtimes]);
    for (const channel of channelsOf(idle)) if (!inUse.has(channel)) void channel.close(GRACE_MS);
    if (this.runtimes.size > 0) return;
    clearInterval(this.timer);
    this.timer = undefined;
  }
}

function channelsOf(runtimes: Iterable<Runtime>): Set<Channel> {
  return new Set([...runtimes].flatMap(({ upstreams }) => upstreams.map(({ channel }) => channel)));
}
