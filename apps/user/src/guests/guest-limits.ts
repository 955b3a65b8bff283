import { ConfigurationError } from '@sluice/config';
import type { userV1 } from '@sluice/contract';
import type { BlockedBy } from '@sluice/problem';
import type { UserSettings } from '../settings.js';

const MINUTE = 60;
const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

/** One limit on new guest tokens: at most `count` within any `seconds`. */
export interface GuestLimit {
  readonly name: 'spacing' | 'hour' | 'day' | 'address-minute' | 'address-hour' | 'backoff';
  readonly blockedBy: BlockedBy;
  readonly count: number;
  readonly seconds: number;
}

export interface GuestLimits {
  readonly device: readonly GuestLimit[];
  readonly address: readonly GuestLimit[];
  /** Undefined: a device that asks too early waits until its limits allow it, however often it asks. */
  readonly backoff: { readonly seconds: number; readonly multiplier: number; readonly secondsMax: number } | undefined;
}

export type GuestSettings = Pick<
  UserSettings,
  | 'GUEST_SPACING_SECONDS'
  | 'GUEST_HOURLY'
  | 'GUEST_DAILY'
  | 'GUEST_ADDRESS_PER_MINUTE'
  | 'GUEST_ADDRESS_HOURLY'
  | 'GUEST_BACKOFF'
  | 'GUEST_BACKOFF_SECONDS'
  | 'GUEST_BACKOFF_MULTIPLIER'
>;

export function guestLimits(settings: GuestSettings): GuestLimits {
  const spacing = settings.GUEST_SPACING_SECONDS;
  return {
    device: [
      ...(spacing > 0 ? [{ name: 'spacing', blockedBy: 'user', count: 1, seconds: spacing } as const] : []),
      { name: 'hour', blockedBy: 'user', count: settings.GUEST_HOURLY, seconds: HOUR },
      { name: 'day', blockedBy: 'user', count: settings.GUEST_DAILY, seconds: DAY },
    ],
    address: [
      { name: 'address-minute', blockedBy: 'ip', count: settings.GUEST_ADDRESS_PER_MINUTE, seconds: MINUTE },
      { name: 'address-hour', blockedBy: 'ip', count: settings.GUEST_ADDRESS_HOURLY, seconds: HOUR },
    ],
    backoff: settings.GUEST_BACKOFF
      ? { seconds: settings.GUEST_BACKOFF_SECONDS, multiplier: settings.GUEST_BACKOFF_MULTIPLIER, secondsMax: HOUR }
      : undefined,
  };
}

/** @throws ConfigurationError naming what tunes a back-off that is off */
export function checkGuestSettings({ GUEST_BACKOFF: backoff }: GuestSettings, environment: NodeJS.ProcessEnv): void {
  const tuned = ['GUEST_BACKOFF_SECONDS', 'GUEST_BACKOFF_MULTIPLIER'].filter((name) => environment[name]);
  if (backoff || tuned.length === 0) return;
  throw new ConfigurationError(
    tuned.map((name) => `${name}=${JSON.stringify(environment[name])}: has no effect beside GUEST_BACKOFF=false`),
  );
}

/** What clients are told, so that they need not find it out by asking. */
export function guestTerms(settings: GuestSettings): userV1.GuestTerms {
  return {
    spacing_seconds: settings.GUEST_SPACING_SECONDS,
    hourly: settings.GUEST_HOURLY,
    daily: settings.GUEST_DAILY,
    backoff: settings.GUEST_BACKOFF,
    backoff_seconds: settings.GUEST_BACKOFF_SECONDS,
    backoff_multiplier: settings.GUEST_BACKOFF_MULTIPLIER,
  };
}

/** A limit that refuses, and for how long. */
export interface GuestRefusal {
  readonly limit: GuestLimit;
  readonly waitMs: number;
}

/** What has been had of a limit. */
export interface GuestUsage {
  readonly limit: GuestLimit;
  /** New tokens within the limit's window, counted up to its `count`. */
  readonly used: number;
  /** The age in milliseconds of the `count`-th latest of them; undefined when there were fewer. */
  readonly ageMs: number | undefined;
}

/** How long a limit refuses from now on, in milliseconds; 0: it does not. */
export function waitMsOf({ limit, ageMs }: GuestUsage): number {
  return ageMs === undefined ? 0 : Math.max(0, Math.ceil(limit.seconds * 1000 - ageMs));
}

/** Which limit makes the caller wait longest. */
export function longestRefusal(usages: readonly GuestUsage[]): GuestRefusal | undefined {
  let longest: GuestRefusal | undefined;
  for (const usage of usages) {
    const waitMs = waitMsOf(usage);
    if (waitMs > 0) longest = longer(longest, { limit: usage.limit, waitMs });
  }
  return longest;
}

/** The one of two refusals with the longer wait. */
export function longer(one: GuestRefusal | undefined, other: GuestRefusal | undefined): GuestRefusal | undefined {
  return (other?.waitMs ?? 0) > (one?.waitMs ?? 0) ? other : one;
}

/** What the n-th refusal in a row earns: more each time, bounded. */
export function backoffMs({ backoff }: GuestLimits, refusals: number): number {
  if (backoff === undefined) return 0;
  const seconds = backoff.seconds * backoff.multiplier ** Math.min(refusals - 1, 30);
  return Math.ceil(Math.min(seconds, backoff.secondsMax) * 1000);
}

/** The limit in whose name a back-off refuses. */
export const BACKOFF: GuestLimit = { name: 'backoff', blockedBy: 'user', count: 1, seconds: 0 };

/** What `details.policy` of a refusal says. */
export function policyNameOf({ name }: GuestLimit): string {
  return `guest-${name}`;
}
