/**
 * Whether the server can be asked:
 * - `up`: it is asked;
 * - `lost`: it is left alone but for one probe at a time, which brings it back.
 */
export type StoreState = 'up' | 'lost';

export interface BreakerOptions {
  /** Resolves when the server does its work again. */
  readonly probe: () => Promise<void>;
  readonly probeEveryMs: number;
  /** Failures in a row that open it. */
  readonly failuresMax: number;
  /** Called at each change, and at no other time. */
  readonly onChange: (state: StoreState, reason: string) => void;
}

/** Stops asking a server that does not answer, and finds out by itself when it does. */
export class Breaker {
  #state: StoreState = 'up';
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(private readonly options: BreakerOptions) {}

  get state(): StoreState {
    return this.#state;
  }

  succeeded(): void {
    this.#failures = 0;
  }

  failed(reason: string): void {
    this.#failures++;
    if (this.#failures >= this.options.failuresMax) this.open(reason);
  }

  /** Opens without waiting for more failures. */
  open(reason: string): void {
    if (this.#state === 'lost') return;
    this.#state = 'lost';
    this.options.onChange('lost', reason);
    this.#probeLater();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#state = 'lost';
  }

  #probeLater(): void {
    this.#timer = setTimeout(() => void this.#probe(), this.options.probeEveryMs).unref();
  }

  async #probe(): Promise<void> {
    const timer = this.#timer;
    try {
      await this.options.probe();
    } catch {
      if (timer === this.#timer) this.#probeLater();
      return;
    }
    if (timer !== this.#timer) return;
    this.#failures = 0;
    this.#state = 'up';
    this.options.onChange('up', 'it answers again');
  }
}
