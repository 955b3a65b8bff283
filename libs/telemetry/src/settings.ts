import { choice, integer, text } from '@sluice/config';
import { logLevels } from './logger.js';

/** The settings that every process reads. */
export const processSettings = {
  LOG_LEVEL: choice('The least severe level that is logged.', logLevels, 'info'),
  ADMIN_HOST: text('Address that the admin ports listen on.', '127.0.0.1'),
  SHUTDOWN_GRACE_SECONDS: integer('Seconds that calls in flight may take to finish after SIGTERM.', 10, {
    min: 0,
    max: 300,
  }),
};
