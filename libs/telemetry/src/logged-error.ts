/**
 * What of an error is logged. An error of a library carries what it was given: a driver's has the parameters of its statement, and a
 * parser's message quotes its input. So of a foreign error only its kind, its code and its frames are told, by a list of what may be,
 * and a message only of errors that this repository makes.
 */

import { isIP } from 'node:net';

/** Members of an error in the log; `message` only of errors of ours. */
export interface LoggedError {
  readonly type: string;
  readonly message?: string;
  /** What a SQLSTATE in `code` means. */
  readonly condition?: string;
  readonly stack?: string;
  readonly cause?: LoggedError;
  readonly errors?: readonly LoggedError[];
  readonly [member: string]: unknown;
}

const DEPTH_MAX = 5;
const ERRORS_MAX = 4;
const FRAMES_MAX = 20;

const NAME = /^[\w$.]{1,64}$/;
/** `ECONNREFUSED`, `ERR_INVALID_ARG_TYPE`, `InvalidArg`, `23505`, `14`. */
const isCode = (value: unknown) =>
  Number.isInteger(value) || (typeof value === 'string' && /^(?:[A-Z]\w{1,63}|[0-9A-Z]{5})$/.test(value));
const isIdentifier = (value: unknown) => typeof value === 'string' && /^\w{1,64}$/.test(value);

/** Node's system errors say which call failed and where; Postgres which part of its schema an error is about. */
const members: Readonly<Record<string, (value: unknown) => boolean>> = {
  code: isCode,
  syscall: (value) => typeof value === 'string' && /^[a-z_]{1,32}$/.test(value),
  address: (value) => typeof value === 'string' && isIP(value) > 0,
  port: (value) => Number.isInteger(value),
  severity: isCode,
  schema: isIdentifier,
  table: isIdentifier,
  column: isIdentifier,
  constraint: isIdentifier,
};

/** `    at name (file:///path:1:2)`, `    at async file:///path:1:2`, `    at JSON.parse (<anonymous>)`. */
const FRAME =
  /^ {4}at (?:async )?(?:[^()]{0,200} \()?(?:(?:file:\/\/|\/|node:)[^()]{1,400}:\d+:\d+|<anonymous>|index \d+)\)?$/;
const OWN_FRAME = /^ {4}at (?!async )[^(]*\(?(?:file:\/\/|\/)(?!.*\/node_modules\/(?!@sluice\/))/;

/** Of Postgres' conditions (appendix A of its manual) those that an operator meets. */
const conditions: Readonly<Record<string, string>> = {
  '08006': 'connection_failure',
  '08P01': 'protocol_violation',
  '22021': 'character_not_in_repertoire',
  '22P02': 'invalid_text_representation',
  '22P05': 'untranslatable_character',
  '23503': 'foreign_key_violation',
  '23505': 'unique_violation',
  '23514': 'check_violation',
  '25006': 'read_only_sql_transaction',
  '28000': 'invalid_authorization_specification',
  '28P01': 'invalid_password',
  '3D000': 'invalid_catalog_name',
  '40001': 'serialization_failure',
  '40P01': 'deadlock_detected',
  '42501': 'insufficient_privilege',
  '42703': 'undefined_column',
  '42P01': 'undefined_table',
  '53100': 'disk_full',
  '53200': 'out_of_memory',
  '53300': 'too_many_connections',
  '55P03': 'lock_not_available',
  '57014': 'query_canceled',
  '57P01': 'admin_shutdown',
  '57P02': 'crash_shutdown',
  '57P03': 'cannot_connect_now',
};

/** Whatever was thrown, as it is logged. What is no error is told by its type alone. */
export function loggedError(thrown: unknown, depth = 1): LoggedError {
  if (!(thrown instanceof Error)) return { type: thrown === null ? 'null' : typeof thrown };
  const frames = framesOf(thrown);
  const { name, code, cause, errors } = thrown as Error & { code?: unknown; errors?: unknown };
  const own = OWN_FRAME.test(frames[0] ?? '');
  const condition = typeof code === 'string' && Object.hasOwn(conditions, code) ? conditions[code] : undefined;
  return {
    type: typeof name === 'string' && NAME.test(name) ? name : 'Error',
    ...(own && { message: thrown.message }),
    ...allowed(thrown as unknown as Readonly<Record<string, unknown>>),
    ...(condition !== undefined && { condition }),
    ...(frames.length > 0 && { stack: frames.join('\n') }),
    ...(cause !== undefined && depth < DEPTH_MAX && { cause: loggedError(cause, depth + 1) }),
    ...(Array.isArray(errors) &&
      depth < DEPTH_MAX && { errors: errors.slice(0, ERRORS_MAX).map((error) => loggedError(error, depth + 1)) }),
  };
}

/** The same as a text of several lines. */
export function errorText(thrown: unknown): string {
  const { type, message, stack, cause, errors: _, ...rest } = loggedError(thrown);
  const facts = Object.entries(rest).map(([name, value]) => `${name}=${String(value)}`);
  const head = [message === undefined ? type : `${type}: ${message}`, ...facts].join(' ');
  const lines = [head, ...(stack === undefined ? [] : [stack])];
  if (cause !== undefined) lines.push(`caused by ${errorText((thrown as Error).cause)}`);
  return lines.join('\n');
}

/** The frames of a stack as a text, which begins with the message. */
export function framesOf({ stack, message }: { readonly stack?: unknown; readonly message?: unknown }): string[] {
  if (typeof stack !== 'string') return [];
  const at = typeof message === 'string' ? stack.indexOf(message) : -1;
  const frames = at < 0 ? stack : stack.slice(at + (message as string).length);
  return frames
    .split('\n')
    .filter((line) => FRAME.test(line))
    .slice(0, FRAMES_MAX);
}

function allowed(error: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const told: Record<string, unknown> = {};
  for (const [member, may] of Object.entries(members)) if (may(error[member])) told[member] = error[member];
  return told;
}
