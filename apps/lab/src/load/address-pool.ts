import { type BackOff, backOffMs } from './rate-controller.js';

/** One client address that calls come from. */
export interface ClientAddress {
  readonly index: number;
  readonly address: string;
  /** No call leaves from here before this moment. */
  heldUntilMs: number;
  refusalsInARow: number;
}

const ADDRESSES_MAX = 60_000;

/** 127.1.0.1 onward: each is a source address of its own on the loopback interface of Linux. */
export function loopbackAddress(index: number): string {
  return dotted(0x7f_01_00_00, index);
}

/** 198.18.0.1 onward, the range that RFC 2544 reserves for load tests; said in `X-Forwarded-For`. */
export function forwardedAddress(index: number): string {
  return dotted(0xc6_12_00_00, index);
}

/** Skips the last bytes 0 and 255, which some systems treat as networks and broadcasts. */
function dotted(base: number, index: number): string {
  const number = base + Math.floor(index / 254) * 256 + (index % 254) + 1;
  return [24, 16, 8, 0].map((shift) => (number >>> shift) & 0xff).join('.');
}

/** Client addresses, used in turn; one that was refused rests until its back-off is over. */
export class AddressPool {
  readonly addresses: readonly ClientAddress[];
  private next = 0;

  constructor(
    count: number,
    addressOf: (index: number) => string,
    private readonly backOff: BackOff,
    private readonly random: () => number,
  ) {
    if (!(Number.isInteger(count) && count >= 1 && count <= ADDRESSES_MAX)) {
      throw new RangeError(`${count} addresses: expected 1 to ${ADDRESSES_MAX}`);
    }
    this.addresses = Array.from({ length: count }, (_, index) => ({
      index,
      address: addressOf(index),
      heldUntilMs: 0,
      refusalsInARow: 0,
    }));
  }

  /** The next address whose turn it is and that does not rest; undefined when all rest. */
  take(nowMs: number): ClientAddress | undefined {
    for (let tried = 0; tried < this.addresses.length; tried++) {
      const address = this.addresses[this.next]!;
      this.next = (this.next + 1) % this.addresses.length;
      if (address.heldUntilMs <= nowMs) return address;
    }
    return undefined;
  }

  /** A call from this address was refused because of the address. */
  refused(address: ClientAddress, nowMs: number, retryAfterMs: number): void {
    // Several calls under way are refused together: they are one refusal.
    if (address.heldUntilMs > nowMs) return;
    address.refusalsInARow++;
    address.heldUntilMs = nowMs + backOffMs(this.backOff, address.refusalsInARow, retryAfterMs, this.random());
  }

  answered(address: ClientAddress): void {
    address.refusalsInARow = 0;
  }

  held(nowMs: number): number {
    let held = 0;
    for (const address of this.addresses) if (address.heldUntilMs > nowMs) held++;
    return held;
  }
}
