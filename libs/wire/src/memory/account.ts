/**
 * How much memory is held for whom: for a connection, for all connections of a client address, for all clients together. What is
 * held is counted at every level; each level has a limit of its own.
 *
 *   all clients ◀── address ◀── connection        (a proxy's connection stands directly below all clients)
 *
 * Nothing is refused by counting. Who holds much asks for room, and waits, or goes without, when there is none.
 */

/** Somebody who has to stop until others have let go of memory; exactly one of the two is called, once for each wait. */
export interface RoomWaiter {
  readonly account: MemoryAccount;
  /** It takes up more than the last part of a limit is kept for. */
  readonly large: boolean;
  onRoom(): void;
  /** There was no room for too long, or the client holds more than anybody while others need some. */
  onNoRoom(): void;
}

/** Things up to this size find room in the last part of every limit, so that small calls go on beside large ones. */
export const SMALL_OCTETS = 65_536;
const SMALL_SHARE = 1 / 8;

export class MemoryAccount {
  /** Octets held, those of the accounts below included. */
  held = 0;
  /** Of these, the octets of things that are not complete. What is complete goes on being held until it has left. */
  private growing = 0;
  /** Ends whatever holds the memory of this account; undefined for those that must not be ended. */
  shed: (() => void) | undefined;
  readonly below = new Set<MemoryAccount>();
  /** One at a time goes on beyond the limits of its connection and address, so that of many half done ones some get done. */
  private first: RoomWaiter | undefined;
  private readonly largeLimit: number;

  constructor(
    readonly limit: number,
    protected above: MemoryAccount | undefined,
  ) {
    this.largeLimit = limit * (1 - SMALL_SHARE);
    above?.below.add(this);
  }

  hold(octets: number): void {
    this.held += octets;
    for (let level = this.above; level !== undefined; level = level.above) level.held += octets;
  }

  /** As `hold`, for something that is not complete. */
  grow(octets: number): void {
    this.hold(octets);
    this.growing += octets;
    for (let level = this.above; level !== undefined; level = level.above) level.growing += octets;
  }

  release(octets: number): void {
    this.hold(-octets);
  }

  /** Not even small things find room. */
  get exhausted(): boolean {
    if (this.held > this.limit) return true;
    return this.above !== undefined && this.above.exhausted;
  }

  /** There is room for large things. */
  get hasRoom(): boolean {
    if (this.held > this.largeLimit) return false;
    return this.above === undefined || this.above.hasRoom;
  }

  /** There is room for what the waiter holds. */
  admits(waiter: RoomWaiter): boolean {
    if (!waiter.large) return !this.exhausted;
    return this.hasRoom || (this.top.first === waiter && this.root.hasRoom);
  }

  /**
   * Lets a large waiter go on beyond the limits below that of all clients, unless another of its address does, or what is complete
   * takes up a whole limit: then those who should take it are slow, and more would only wait for them.
   */
  goFirst(waiter: RoomWaiter): boolean {
    const { top } = this;
    if (!waiter.large || this.above === undefined || top.first !== undefined || !this.root.hasRoom) return false;
    for (let level: MemoryAccount = this; level.above !== undefined; level = level.above) {
      if (level.held - level.growing > level.limit) return false;
    }
    top.first = waiter;
    return true;
  }

  /** The waiter holds nothing any more. */
  done(waiter: RoomWaiter): void {
    const { top } = this;
    if (top.first === waiter) top.first = undefined;
    this.stopWaiting(waiter);
  }

  wait(waiter: RoomWaiter): void {
    this.above?.wait(waiter);
  }

  stopWaiting(waiter: RoomWaiter): void {
    this.above?.stopWaiting(waiter);
  }

  /** Whoever holds most is shed while there is not even room for small things, unless this is it. @returns whether there is room now */
  relieve(): boolean {
    const { root } = this;
    while (root.held > root.limit && root.shedGreediest(this.top)) continue;
    return !this.exhausted;
  }

  /** What it held is held no longer; what is still counted here has no effect above. */
  close(): void {
    if (this.above === undefined) return;
    const { above, held, growing } = this;
    above.below.delete(this);
    above.grow(-growing);
    above.release(held - growing);
    this.above = undefined;
  }

  /** Of the accounts directly below the top one of those that can be shed, the one that holds most. */
  greediest(): MemoryAccount | undefined {
    let most: MemoryAccount | undefined;
    for (const account of this.below) {
      if (account.held === 0 || (account.shed === undefined && account.below.size === 0)) continue;
      if (most === undefined || account.held > most.held) most = account;
    }
    return most;
  }

  /**
   * Sheds the greediest connection of the greediest address.
   * @param spared it holds less than others would have to give up
   * @returns false when nobody holds more than `spared`
   */
  shedGreediest(spared: MemoryAccount): boolean {
    const address = this.greediest();
    if (address === undefined || address === spared || address.held <= spared.held) return false;
    const account = address.greediest() ?? address;
    if (account.shed === undefined) return false;
    this.onShed();
    account.shed();
    account.close();
    return true;
  }

  protected onShed(): void {}

  /** The account of the address, below that of all clients. */
  get top(): MemoryAccount {
    const { above } = this;
    return above === undefined || above.above === undefined ? this : above.top;
  }

  private get root(): MemoryAccount {
    return this.above === undefined ? this : this.above.root;
  }
}

/** For what nobody limits. */
export const unbounded = new MemoryAccount(Infinity, undefined);
