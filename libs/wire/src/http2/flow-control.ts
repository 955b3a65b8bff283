/**
 * Flow control (RFC 9113 §5.2 and §6.9): both sides count octets of DATA, per stream and per connection.
 */

/** The protocol's initial window (§6.9.2). */
export const INITIAL_WINDOW = 65_535;
/** §6.9.1: a window above this is a FLOW_CONTROL_ERROR. */
export const MAX_WINDOW = 2 ** 31 - 1;

/** What the peer allows us to send. A change of SETTINGS_INITIAL_WINDOW_SIZE may make it negative (§6.9.2). */
export class SendWindow {
  constructor(public available: number) {}

  /** @returns false when the window would exceed the protocol's maximum. */
  widen(increment: number): boolean {
    this.available += increment;
    return this.available <= MAX_WINDOW;
  }
}

/** What we allow the peer to send. Credit goes back in halves of the window, so that few WINDOW_UPDATEs are needed. */
export class ReceiveWindow {
  private available: number;
  private owed = 0;

  constructor(private readonly size: number) {
    this.available = size;
  }

  /** Counts a DATA frame. @returns false when the peer sent more than it was allowed: FLOW_CONTROL_ERROR. */
  take(octets: number): boolean {
    this.available -= octets;
    return this.available >= 0;
  }

  /** The octets have left our memory. @returns the increment to announce now, or 0. */
  release(octets: number): number {
    this.owed += octets;
    if (this.owed * 2 < this.size) return 0;
    const increment = this.owed;
    this.owed = 0;
    this.available += increment;
    return increment;
  }
}
