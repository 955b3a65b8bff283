/**
 * Retries are paid for by calls: each call deposits a share of one retry, so that retries never multiply the load of an
 * upstream that is failing. A few are free, for channels with little traffic.
 */
export class RetryBudget {
  private left: number;

  constructor(
    private readonly share: number,
    private readonly reserve = 10,
  ) {
    this.left = reserve;
  }

  deposit(): void {
    if (this.left < this.reserve * 10) this.left += this.share;
  }

  /** @returns false when there is nothing left to retry with. */
  withdraw(): boolean {
    if (this.left < 1) return false;
    this.left--;
    return true;
  }
}
