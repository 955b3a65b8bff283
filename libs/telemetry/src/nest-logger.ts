import type { LoggerService } from '@nestjs/common';
import { framesOf } from './logged-error.js';
import type { Logger } from './logger.js';

/** Nest's own messages in our log; its start-up chatter goes to `debug`. */
export function nestLogger(logger: Logger): LoggerService {
  const contextOf = (rest: unknown[]) => ({ context: rest.at(-1) });
  const fault =
    (level: 'error' | 'fatal') =>
    (message: unknown, ...rest: unknown[]) => {
      const context = contextOf(rest);
      if (message instanceof Error) logger[level]({ ...context, err: message }, 'the framework met an error');
      else logger[level]({ ...context, ...stackOf(rest[0]) }, textOf(message, rest[0]));
    };
  return {
    log: (message: unknown, ...rest: unknown[]) => logger.debug(contextOf(rest), String(message)),
    debug: (message: unknown, ...rest: unknown[]) => logger.debug(contextOf(rest), String(message)),
    verbose: (message: unknown, ...rest: unknown[]) => logger.trace(contextOf(rest), String(message)),
    warn: (message: unknown, ...rest: unknown[]) => logger.warn(contextOf(rest), String(message)),
    error: fault('error'),
    fatal: fault('fatal'),
  };
}

function stackOf(stack: unknown): { stack?: string } {
  const frames = framesOf({ stack });
  return frames.length === 0 ? {} : { stack: frames.join('\n') };
}

/** A text that comes with a stack, or reads `SomeError: …`, is the message of an error that anything may have thrown. */
function textOf(message: unknown, stack: unknown): string {
  const text = typeof message === 'string' ? message : '';
  const ofError = text === '' || framesOf({ stack }).length > 0 || /^\w*Error\b/.test(text);
  return ofError ? 'the framework met an error' : text;
}
