import type { GuestRefusal } from './guest-limits.js';

const KEPT_MAX = 10_000;

/**
 * Addresses that had their share, kept until they can get another token: what the database has counted once it need not count
 * for each request of a flood. A hint and no second count, since the tokens of an address can only become more meanwhile.
 */
export class FullAddresses {
  private readonly refusals = new Map<string, { readonly limit: GuestRefusal['limit']; readonly untilMs: number }>();

  /** @param clock milliseconds that only go forward */
  constructor(readonly clock = () => performance.now()) {}

  /** @param sinceMs the clock before the database was asked, so that nobody waits longer than it said */
  remember(network: string, { limit, waitMs }: GuestRefusal, sinceMs: number): void {
    this.refusals.delete(network);
    if (this.refusals.size >= KEPT_MAX) this.refusals.delete(this.refusals.keys().next().value as string);
    this.refusals.set(network, { limit, untilMs: sinceMs + waitMs });
  }

  refusalOf(network: string): GuestRefusal | undefined {
    const known = this.refusals.get(network);
    if (!known) return undefined;
    const waitMs = Math.ceil(known.untilMs - this.clock());
    if (waitMs > 0) return { limit: known.limit, waitMs };
    this.refusals.delete(network);
    return undefined;
  }
}
