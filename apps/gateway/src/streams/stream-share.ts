import { type BlockedBy, Problem } from '@sluice/problem';
import type { StreamEnding } from './open-stream.js';

/** How many streams may be open at once. */
export interface StreamBounds {
  readonly max: number;
  readonly max_per_caller: number;
  readonly max_per_address: number;
}

/** What a stream is counted against. */
export interface StreamOwner {
  /** Undefined: nobody is signed in, and the address alone counts. */
  readonly caller: string | undefined;
  readonly address: string;
}

/** What was in the way of a stream. */
export type StreamBound = 'share' | 'caller' | 'address';

/** When another attempt is worthwhile, in milliseconds: nobody knows when a stream will end. */
const RETRY_AFTER_MS = 5000;
/** Of what the connections to an upstream can carry, streams get this much, so that calls always find room. */
const ROOM_SHARE = 0.5;

/**
 * The streams that are open to one upstream. They have a share of their own: streams last as long as somebody listens, and counted
 * among calls, a few idle ones would leave no place for them. It outlives a reload of the configuration.
 */
export class StreamShare {
  open = 0;
  readonly refused: Record<StreamBound, number> = { share: 0, caller: 0, address: 0 };
  /** Streams that the gateway ended, by why. */
  readonly ended: Record<StreamEnding, number> = { session: 0, token: 0, idle: 0 };
  private readonly byCaller = new Map<string, number>();
  private readonly byAddress = new Map<string, number>();

  /**
   * Counts a stream, until it is given back.
   *
   * @param max what {@link streamsMax} says
   * @returns RATE_LIMIT_EXCEEDED or OVERLOADED when it has no place; it is not counted then
   */
  take({ caller, address }: StreamOwner, bounds: StreamBounds, max: number): Problem | undefined {
    const { byCaller, byAddress } = this;
    if (caller !== undefined && (byCaller.get(caller) ?? 0) >= bounds.max_per_caller) {
      return this.tooMany('caller', 'user', bounds.max_per_caller);
    }
    if ((byAddress.get(address) ?? 0) >= bounds.max_per_address) {
      return this.tooMany('address', 'ip', bounds.max_per_address);
    }
    if (this.open >= max) {
      this.refused.share++;
      return new Problem('OVERLOADED', 'The service behind this path has no room for more streams.', {
        details: { retry_after_ms: RETRY_AFTER_MS },
        cause: `${max} streams are open`,
      });
    }
    this.open++;
    if (caller !== undefined) count(byCaller, caller, 1);
    count(byAddress, address, 1);
    return undefined;
  }

  giveBack({ caller, address }: StreamOwner): void {
    this.open--;
    if (caller !== undefined) count(this.byCaller, caller, -1);
    count(this.byAddress, address, -1);
  }

  private tooMany(bound: StreamBound, blockedBy: BlockedBy, limit: number): Problem {
    this.refused[bound]++;
    const whose = bound === 'caller' ? 'You have' : 'Your address has';
    return new Problem('RATE_LIMIT_EXCEEDED', `${whose} ${limit} streams open to this service. End one first.`, {
      details: { blocked_by: blockedBy, limit, retry_after_ms: RETRY_AFTER_MS },
    });
  }
}

/** Streams that may be open at once where the connections to an upstream can carry `room`. */
export function streamsMax(bounds: StreamBounds, room: number): number {
  return Math.min(bounds.max, Math.max(1, Math.floor(room * ROOM_SHARE)));
}

function count(counts: Map<string, number>, key: string, change: number): void {
  const now = (counts.get(key) ?? 0) + change;
  if (now === 0) counts.delete(key);
  else counts.set(key, now);
}
