import type { BlockedBy } from '@sluice/problem';

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
  readonly backoff: { readonly seconds: number; readonly secondsMax: number };
}

export function guestLimits(settings: {
  readonly GUEST_SPACING_SECONDS: number;
  readonly GUEST_HOURLY: number;
  readonly GUEST_DAILY: number;
  readonly GUEST_ADDRESS_PER_MINUTE: number;
  readonly GUEST_ADDRESS_HOURLY: number;
  readonly GUEST_BACKOFF_SECONDS: number;
}): GuestLimits {
  return {
    device: [
      { name: 'spacing', blockedBy: 'user', count: 1, seconds: settings.GUEST_SPACING_SECONDS },
      { name: 'hour', blockedBy: 'user', count: settings.GUEST_HOURLY, seconds: HOUR },
      { name: 'day', blockedBy: 'user', count: settings.GUEST_DAILY, seconds: DAY },
    ],
    address: [
      { name: 'address-minute', blockedBy: 'ip', count: settings.GUEST_ADDRESS_PER_MINUTE, seconds: MINUTE },
      { name: 'address-hour', blockedBy: 'ip', count: settings.GUEST_ADDRESS_HOURLY, seconds: HOUR },
    ],
    backoff: { seconds: settings.GUEST_BACKOFF_SECONDS, secondsMax: HOUR },
  };
}

/** A limit that refuses, and for how long. */
export interface GuestRefusal {
  readonly limit: GuestLimit;
  readonly waitMs: number;
}

/**
 * Which limit makes the caller wait longest.
 *
 * @param limits each with the age in milliseconds of its `count`-th latest token; undefined when there were fewer
 */
export function longestRefusal(
  limits: readonly { readonly limit: GuestLimit; readonly ageMs: number | undefined }[],
): GuestRefusal | undefined {
  let longest: GuestRefusal | undefined;
  for (const { limit, ageMs } of limits) {
    if (ageMs === undefined) continue;
    const waitMs = Math.ceil(limit.seconds * 1000 - ageMs);
    if (waitMs > 0) longest = longer(longest, { limit, waitMs });
  }
  return longest;
}

/** The one of two refusals with the longer wait. */
export function longer(one: GuestRefusal | undefined, other: GuestRefusal | undefined): GuestRefusal | undefined {
  return (other?.waitMs ?? 0) > (one?.waitMs ?? 0) ? other : one;
}

/** What the n-th refusal in a row earns: doubled each time, bounded. */
export function backoffMs({ backoff }: GuestLimits, refusals: number): number {
  return Math.min(backoff.seconds * 2 ** Math.min(refusals - 1, 30), backoff.secondsMax) * 1000;
}

/** The limit in whose name a back-off refuses. */
export const BACKOFF: GuestLimit = { name: 'backoff', blockedBy: 'user', count: 1, seconds: 0 };
