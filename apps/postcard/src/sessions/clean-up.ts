import type { Logger } from '@sluice/telemetry';
import type { Agents } from './agents.js';
import type { SessionStore } from './session-store.js';

/** Deletes sessions that have ended, now and then, until it is stopped. */
export class CleanUp {
  private timer: NodeJS.Timeout | undefined;
  private running = Promise.resolve();

  constructor(
    private readonly store: SessionStore,
    private readonly agents: Agents,
    private readonly logger: Logger,
    private readonly everyMs: number,
  ) {}

  start(): void {
    this.timer = setInterval(() => {
      this.running = this.running.then(() => this.run());
    }, this.everyMs);
    this.timer.unref();
  }

  /** Resolves when a clean-up under way has ended. */
  async stop(): Promise<void> {
    clearInterval(this.timer);
    await this.running;
  }

  private async run(): Promise<void> {
    let deleted = 0;
    try {
      for await (const ids of this.store.deleteExpired()) {
        for (const id of ids) this.agents.forget(id);
        deleted += ids.length;
      }
      if (deleted > 0) this.logger.info({ deleted }, 'sessions that were idle too long are deleted');
    } catch (error) {
      this.logger.error({ err: error, deleted }, 'the clean-up of sessions failed and is tried again next time');
    }
  }
}
