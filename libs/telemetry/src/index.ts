export { Counter, Gauge, Histogram, Registry } from 'prom-client';
export { AdminModule, METRICS, READINESS, type Readiness } from './admin.module.js';
export { LogOutput } from './log-output.js';
export { createLogger, logLevels, type Logger, type LogLevel } from './logger.js';
export { errorText, loggedError, type LoggedError } from './logged-error.js';
export { nestLogger } from './nest-logger.js';
export {
  currentTrace,
  formatTraceparent,
  newTraceContext,
  parseTraceparent,
  withTrace,
  type TraceContext,
} from './trace-context.js';
export { runProcess, type Running } from './process.js';
export { processSettings } from './settings.js';
