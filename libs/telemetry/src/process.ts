import { writeSync } from 'node:fs';
import { ConfigurationError, namedByConfiguration, unreadSettings } from '@sluice/config';
import { errorText } from './logged-error.js';
import type { Logger } from './logger.js';

/** A process that has started. */
export interface Running {
  readonly logger: Logger;
  /** How long the ports take calls after {@link drain} when it was SIGTERM, in milliseconds; Ctrl-C is not waited for. */
  readonly delayMs: number;
  /** How long {@link stop} may take, in milliseconds. */
  readonly graceMs: number;
  /** Says to the outside that no new work should come; at once. */
  drain(): void;
  /** Ends when everything in flight has. */
  stop(): Promise<void>;
}

/** Peers have at least this long to notice that the process drains before its ports close, in milliseconds. */
const NOTICE_MS = 300;

/**
 * Starts a process and stops it on SIGTERM, SIGINT, or the end of a parent that gave it an IPC channel: drain, finish, exit 0.
 * A second signal, or the end of the grace, ends it at once with exit code 1.
 * A configuration mistake ends it with exit code 78 (EX_CONFIG of sysexits.h), any other failure to start with 1.
 */
export async function runProcess(start: () => Promise<Running>): Promise<void> {
  let running: Running | undefined;
  // What libraries print by themselves may meet a full disk or a closed pipe.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  // Node itself would print the error with all its members.
  process.on('uncaughtException', (error) => {
    if (running) running.logger.fatal({ err: error }, 'an error that nobody caught');
    else tell(startFailure(error));
    process.exit(1);
  });
  try {
    running = await start();
  } catch (error) {
    tell(startFailure(error));
    process.exit(error instanceof ConfigurationError ? 78 : 1);
  }
  for (const [setting, why] of unreadSettings(process.env, namedByConfiguration(process.env)))
    running.logger.warn({ setting }, `${setting} is set, and ${why}`);
  let stopping = false;
  const stop = async (reason: string) => {
    if (stopping) process.exit(1);
    stopping = true;
    running.logger.info({ reason }, 'stopping');
    running.drain();
    const noticeMs = Math.max(NOTICE_MS, reason === 'SIGTERM' ? running.delayMs : 0);
    setTimeout(() => {
      running.logger.error('calls were still in flight at the end of the grace');
      process.exit(1);
    }, noticeMs + running.graceMs).unref();
    await new Promise((resolve) => setTimeout(resolve, noticeMs));
    await running.stop();
    running.logger.info('stopped');
    process.exit(0);
  };
  const onSignal = (reason: string) =>
    void stop(reason).catch((error: unknown) => {
      running.logger.error({ err: error }, 'could not stop');
      process.exit(1);
    });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => onSignal(signal));
  if (process.channel) process.on('disconnect', () => onSignal('the parent has gone'));
}

/** On standard error, which may be a full disk or a closed pipe: the exit code says it as well. */
function tell(text: string): void {
  try {
    writeSync(2, `${text}\n`);
  } catch {
    // There is nobody to tell.
  }
}

function startFailure(error: unknown): string {
  if (error instanceof ConfigurationError) return `The configuration is wrong:\n${error.message}`;
  return `Could not start: ${errorText(error)}`;
}
