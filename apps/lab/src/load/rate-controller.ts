/** How the rate follows what the server refuses. */
export interface RateBounds {
  /** The least and the most that the scenario's rate is multiplied by. */
  readonly multiplierMin: number;
  readonly multiplierMax: number;
}

/** The calls of one control interval. */
export interface IntervalOutcome {
  readonly answered: number;
  readonly refused: number;
}

export const CONTROL_INTERVAL_SECONDS = 30;
const REFUSED_SHARE_HIGH = 0.1;
const REFUSED_SHARE_LOW = 0.01;
const SLOWER = 0.8;
const FASTER = 1.1;

/**
 * The multiplier for the next interval: ×0.8 when more than 10 % of the calls were refused (429), ×1.1 when less
 * than 1 % were, and as it is in between or when nothing was answered; always within its bounds.
 */
export function nextMultiplier(multiplier: number, outcome: IntervalOutcome, bounds: RateBounds): number {
  return Math.min(bounds.multiplierMax, Math.max(bounds.multiplierMin, multiplier * factor(outcome)));
}

function factor({ answered, refused }: IntervalOutcome): number {
  if (answered === 0) return 1;
  const share = refused / answered;
  if (share > REFUSED_SHARE_HIGH) return SLOWER;
  return share < REFUSED_SHARE_LOW ? FASTER : 1;
}

/** Waits double from `firstMs` with each refusal in a row, up to `mostMs`. */
export interface BackOff {
  readonly firstMs: number;
  readonly mostMs: number;
}

/**
 * How long to wait after the `attempt`-th refusal in a row (1 is the first). What the server asks for is obeyed when it is
 * longer. Up to a quarter is added, by `random`, so that those who were refused together do not come back together.
 *
 * @param retryAfterMs the server's wait; 0 when it named none
 * @param random from 0 to 1
 */
export function backOffMs(backOff: BackOff, attempt: number, retryAfterMs: number, random: number): number {
  const own = Math.min(backOff.mostMs, backOff.firstMs * 2 ** Math.min(attempt - 1, 30));
  return Math.ceil(Math.max(own, retryAfterMs) * (1 + random / 4));
}
