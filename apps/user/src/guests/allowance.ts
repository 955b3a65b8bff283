import type { userV1 } from '@sluice/contract';
import type { EntityManager } from 'typeorm';
import {
  BACKOFF,
  type GuestLimits,
  type GuestRefusal,
  type GuestUsage,
  longer,
  longestRefusal,
  policyNameOf,
  waitMsOf,
} from './guest-limits.js';
import { type GuestDevice, type GuestKey, guestStore } from './guest-store.js';

/** What is known of a device and its address. */
export interface GuestStanding {
  readonly usages: readonly GuestUsage[];
  readonly refusal: GuestRefusal | undefined;
  readonly device: GuestDevice | undefined;
}

/** Reads without a lock; what a request then meets may have changed meanwhile. */
export async function standingOf(
  source: Pick<EntityManager, 'query'>,
  key: GuestKey,
  limits: GuestLimits,
): Promise<GuestStanding> {
  const device = await guestStore.find(source, key);
  const usages = await guestStore.usage(source, key, 'device', limits.device);
  if (key.network !== '') usages.push(...(await guestStore.usage(source, key, 'network', limits.address)));
  return { device, usages, refusal: refusalOf(usages, device, limits) };
}

/** What refuses longest: one of the limits, or what earlier refusals have earned. */
export function refusalOf(
  usages: readonly GuestUsage[],
  device: GuestDevice | undefined,
  { backoff }: GuestLimits,
): GuestRefusal | undefined {
  const blockedMs = backoff && device?.blocked_ms;
  return longer(longestRefusal(usages), blockedMs ? { limit: BACKOFF, waitMs: blockedMs } : undefined);
}

/**
 * What the device would be told if it asked, in the words of the refusal.
 *
 * @param live the device has a token that asking would return
 */
export function allowanceOf({
  usages,
  refusal,
  device,
  live,
  terms,
}: Pick<GuestStanding, 'usages' | 'refusal'> & {
  readonly device: Pick<GuestDevice, 'refusals'> | undefined;
  readonly live: boolean;
  readonly terms: userV1.GuestTerms;
}): userV1.GuestAllowance {
  return {
    allowed: refusal === undefined,
    live_token: live,
    policy: refusal ? policyNameOf(refusal.limit) : '',
    blocked_by: refusal?.limit.blockedBy ?? '',
    retry_after_ms: refusal?.waitMs ?? 0,
    limits: usages.map((usage) => ({
      policy: policyNameOf(usage.limit),
      blocked_by: usage.limit.blockedBy,
      limit: usage.limit.count,
      window_seconds: usage.limit.seconds,
      remaining: usage.limit.count - usage.used,
      retry_after_ms: waitMsOf(usage),
    })),
    refusals: device?.refusals ?? 0,
    terms,
  };
}
