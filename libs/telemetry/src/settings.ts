import { choice, integer, text } from '@sluice/config';
import { logLevels } from './logger.js';

/** The settings that every process reads. */
export const processSettings = {
  LOG_LEVEL: choice('The least severe level that is logged.', logLevels, 'info'),
  ADMIN_HOST: text('Address that the admin ports listen on.', '127.0.0.1'),
  SHUTDOWN_DELAY_SECONDS: integer(
    'Seconds after SIGTERM in which a process says that it is not ready, and its ports still take calls, so that whoever sends it ' +
      'calls can turn to others first. `npm start`, where nothing asks, has 0.',
    5,
    { min: 0, max: 300 },
  ),
  SHUTDOWN_GRACE_SECONDS: integer('Seconds that calls in flight may take to finish after SIGTERM.', 10, {
    min: 0,
    max: 300,
  }),
};
