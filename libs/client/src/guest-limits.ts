import type { user } from './generated/api.js';
import { checkNumber, checkOptionNames } from './option-names.js';

/** How guest tokens are asked for. Of a limit here and one that the server has told, the stricter holds. */
export interface GuestOptions {
  /** Names the device to the server; one is made up and kept when absent. Works like a password. */
  readonly deviceId?: string;
  /** New tokens within an hour. Default: what the server said, else 10. */
  readonly perHour?: number;
  /** New tokens within a day. Default: what the server said, else 50. */
  readonly perDay?: number;
  /** Time between two new tokens. Default: what the server said, else 60 000. */
  readonly intervalMs?: number;
  /**
   * Whether failures make the next request wait, longer each time. Default true, whatever the server does about refusals. A wait
   * that the server told counts in any case.
   */
  readonly backOff?: boolean;
  /** The wait after the first failure. Default 5 000. */
  readonly backOffMs?: number;
  /** What each further failure multiplies it by, up to an hour. Default: what the server said, else 2. */
  readonly backOffMultiplier?: number;
}

/** The limits that hold now. */
export interface DeviceLimits {
  readonly perHour: number;
  readonly perDay: number;
  readonly intervalMs: number;
  /** Undefined: no back-off. */
  readonly backOff: { readonly ms: number; readonly multiplier: number } | undefined;
}

/** As many requests as are remembered. */
export const ISSUED_KEPT = 1000;
const HOUR_MS = 3_600_000;
const NAMES = ['deviceId', 'perHour', 'perDay', 'intervalMs', 'backOff', 'backOffMs', 'backOffMultiplier'];

/** @throws TypeError naming the option that is unknown, wrong, or can have no effect */
export function checkGuestOptions(options: GuestOptions): void {
  checkOptionNames('guest', options, NAMES);
  const { deviceId, perHour, perDay, intervalMs, backOff, backOffMs, backOffMultiplier } = options;
  if (deviceId !== undefined && (typeof deviceId !== 'string' || deviceId === '' || deviceId.length > 200)) {
    throw new TypeError('guest.deviceId: expected 1 to 200 characters');
  }
  checkNumber('guest.perHour', perHour, 1, ISSUED_KEPT);
  checkNumber('guest.perDay', perDay, 1, ISSUED_KEPT);
  checkNumber('guest.intervalMs', intervalMs, 0, 24 * HOUR_MS);
  checkNumber('guest.backOffMs', backOffMs, 1, HOUR_MS);
  checkNumber('guest.backOffMultiplier', backOffMultiplier, 1, 10, false);
  if (backOff !== undefined && typeof backOff !== 'boolean')
    throw new TypeError('guest.backOff: expected true or false');
  if (backOff === false && (backOffMs ?? backOffMultiplier) !== undefined) {
    throw new TypeError('guest.backOffMs and backOffMultiplier have no effect beside backOff: false');
  }
}

/** @param terms what the server has told */
export function limitsOf(options: GuestOptions, terms: user.GuestTerms | undefined): DeviceLimits {
  const { backOff = true, backOffMs = 5_000 } = options;
  const saidMultiplier = terms?.backoff ? terms.backoff_multiplier : undefined;
  return {
    perHour: fewer(options.perHour, terms?.hourly, 10),
    perDay: fewer(options.perDay, terms?.daily, 50),
    intervalMs: -fewer(negated(options.intervalMs), negated(terms && terms.spacing_seconds * 1000), -60_000),
    backOff: backOff ? { ms: backOffMs, multiplier: options.backOffMultiplier ?? saidMultiplier ?? 2 } : undefined,
  };
}

function fewer(own: number | undefined, said: number | undefined, usual: number): number {
  return own === undefined && said === undefined ? usual : Math.min(own ?? Infinity, said ?? Infinity, ISSUED_KEPT);
}

function negated(value: number | undefined): number | undefined {
  return value === undefined ? undefined : -value;
}
