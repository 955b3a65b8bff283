/**
 * Whether the server can be asked:
 * - `up`: it is asked;
 * - `lost`: it is left alone but for one probe at a time, which brings it back.
 */
export type StoreState = 'up' | 'lost';

export interface BreakerOptions {
  /** Resolves when the server does its work again. */
  readonly probe: () => Promise<void>;
  /** Between probes; longer for a server that comes and goes. */
  readonly probeEveryMs: number;
  /** Failures in a row that open it. */
  readonly failuresMax: number;
  /** Called at each change, and at no other time. */
  readonly onChange: (state: StoreState, reason: string) => void;
}

/** A server that is lost again within this time has not recovered: the next probe comes later, up to PROBE_MS_MAX. */
const RECOVERED_AFTER_MS = 30_000;
const PROBE_MS_MAX = 5_000;

/** Stops asking a server that does not answer, and finds out by itself when it does. */
export class Breaker {
  #state: StoreState = 'up';
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;
  #probeMs: number;
  #upSince = -Infinity;

  constructor(private readonly options: BreakerOptions) {
    this.#probeMs = options.probeEveryMs;
  }

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
    const flaps = performance.now() - this.#upSince < RECOVERED_AFTER_MS;
    this.#probeMs = flaps ? Math.min(this.#probeMs * 2, PROBE_MS_MAX) : this.options.probeEveryMs;
    this.options.onChange('lost', reason);
    this.#probeLater();
  }

  /** Asks no more, also when a probe is under way. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#state = 'lost';
  }

  #probeLater(): void {
    this.#timer = setTimeout(() => void this.#probe(), this.#probeMs).unref();
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
    this.#upSince = performance.now();
    this.options.onChange('up', 'it answers again');
  }
}
