import { type DestinationStream, type LogFn, pino, type Logger as Pino, type LoggerOptions } from 'pino';
import { type DroppedLines, LogOutput } from './log-output.js';
import { loggedError } from './logged-error.js';

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const;
export type LogLevel = (typeof logLevels)[number];
/** One method for each level; no children, whose members nothing would look at. */
export type Logger = Pick<Pino, LogLevel | 'isLevelEnabled'>;

/** Members that never reach a log, wherever a caller puts them down to this depth. */
const secretNames = new Set([
  'password',
  'access_token',
  'refresh_token',
  'token',
  'authorization',
  'cookie',
  'secret',
  'client_secret',
  'api_key',
  'x-api-key',
  'client_assertion',
]);
const DEPTH_MAX = 3;

/** JSON lines on stdout: `level` as a word, `time` as RFC 3339, `service`, `msg`, and what the caller adds. */
export function createLogger(service: string, level: LogLevel = 'info'): Logger {
  const options: LoggerOptions = {
    level,
    base: { service },
    timestamp,
    formatters: {
      level: (label) => ({ level: label }),
      log: (members) => withoutSecrets(members, 1),
    },
    // Described already.
    serializers: { err: (described: unknown) => described },
    // A name that nothing has: of what stands under it the logger takes the message for its own.
    errorKey: '(none)',
    hooks: {
      logMethod(parts, method) {
        method.apply(this, parts.some((part: unknown) => part instanceof Error) ? withoutErrors(parts) : parts);
      },
    },
  };
  return pino(options, standardOutput());
}

/** Made once a millisecond: under load many lines have the same. */
let time = { ms: 0, member: '' };

function timestamp(): string {
  const ms = Date.now();
  if (ms !== time.ms) time = { ms, member: `,"time":"${new Date(ms).toISOString()}"` };
  return time.member;
}

/** Standard output, one for all loggers of the process. */
let output: LogOutput | undefined;

function standardOutput(): DestinationStream {
  if (output === undefined) {
    output = new LogOutput();
    process.on('exit', output.flush);
    // Asks pino to say of each line how severe it is.
    Object.assign(output, { [pino.symbols.needsMetadataGsym]: true });
  }
  return output;
}

/** Lines of this process that could not be written, by why. */
export function droppedLogLines(): DroppedLines {
  return output?.dropped ?? new Map();
}

/**
 * The same members, or a copy when there is a secret among them. The logger's own redaction walks every path of every line,
 * which took seven tenths of what a line of a call cost.
 */
function withoutSecrets<T extends object>(members: T, depth: number): T {
  let copy: Record<string, unknown> | undefined;
  for (const [name, value] of Object.entries(members)) {
    const shown = secretNames.has(name)
      ? '(secret)'
      : name === 'err' && value !== undefined
        ? loggedError(value)
        : inside(value, depth);
    if (shown === value || value === undefined) continue;
    copy ??= (Array.isArray(members) ? [...members] : { ...members }) as Record<string, unknown>;
    copy[name] = shown;
  }
  return (copy as T | undefined) ?? members;
}

/** A line of an error alone, or of a text with errors to be put into it. */
function withoutErrors(parts: unknown[]): Parameters<LogFn> {
  const [first, ...rest] = parts;
  const kinds = rest.map((part) => (part instanceof Error ? loggedError(part).type : part));
  return [first instanceof Error ? { err: first } : first, ...kinds] as unknown as Parameters<LogFn>;
}

function inside(value: unknown, depth: number): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Error) return loggedError(value);
  if (ArrayBuffer.isView(value)) return `(${value.byteLength} octets)`;
  return depth === DEPTH_MAX ? '(left out)' : withoutSecrets(value, depth + 1);
}
