import { type MemoryAccount, type RoomWaiter, SMALL_OCTETS } from './account.js';

/** What one body or message takes up in memory. While there is no room for more of it, whoever makes it grow waits. */
export class Holding implements RoomWaiter {
  octets = 0;
  /** More may come when `onRoom` is called. */
  waiting = false;
  /** It has waited, or goes first. */
  private asked = false;

  constructor(
    readonly account: MemoryAccount,
    private readonly holder: { onRoom(): void; onNoRoom(): void },
  ) {}

  get large(): boolean {
    return this.octets > SMALL_OCTETS;
  }

  /** Counts so many octets more, or fewer. */
  change(by: number): void {
    this.octets += by;
    this.account.grow(by);
    if (this.octets === 0 && this.asked) this.settle();
  }

  /** Whether there is room for what is held now. If not, the holder is told when there is, or that there was none for too long. */
  hasRoom(): boolean {
    const { account } = this;
    if (account.admits(this)) return true;
    this.asked = true;
    if (account.goFirst(this)) return true;
    this.waiting = true;
    account.wait(this);
    return false;
  }

  /** Nothing is held any more. */
  end(): void {
    if (this.octets !== 0) this.change(-this.octets);
    else if (this.asked) this.settle();
  }

  onRoom(): void {
    this.waiting = false;
    this.holder.onRoom();
  }

  onNoRoom(): void {
    this.waiting = false;
    this.holder.onNoRoom();
  }

  private settle(): void {
    this.asked = this.waiting = false;
    this.account.done(this);
  }
}
