/**
 * The token bucket as the generic cell rate algorithm, in its virtual scheduling form: ITU-T Recommendation I.371
 * (annex A) and ATM Forum TM 4.1 section 4.4.2.
 *
 * One number is kept, the theoretical arrival time: when the bucket will be full again. A call of `cost` units moves it
 * by `cost × unitUs`, and is refused when that would put it further ahead than a whole bucket. So in any time span t no
 * more than `capacity + t / unitUs` units are admitted.
 *
 * Times are whole microseconds, which doubles hold exactly until the year 2255: nothing is lost to rounding.
 */
export interface TokenBucketState {
  tat: number;
}

export interface TokenBucketRule {
  readonly capacity: number;
  readonly unitUs: number;
}

export function newTokenBucket(): TokenBucketState {
  return { tat: 0 };
}

/** How long until `cost` fits, in microseconds: 0 when it fits now, Infinity when it is more than a full bucket. */
export function tokenBucketWait(rule: TokenBucketRule, state: TokenBucketState, cost: number, now: number): number {
  if (cost > rule.capacity) return Infinity;
  const wait = debt(rule, state, now) + cost * rule.unitUs - rule.capacity * rule.unitUs;
  return wait > 0 ? wait : 0;
}

/** Debits what {@link tokenBucketWait} said fits. */
export function tokenBucketTake(rule: TokenBucketRule, state: TokenBucketState, cost: number, now: number): void {
  state.tat = now + debt(rule, state, now) + cost * rule.unitUs;
}

/**
 * Undoes a debit whose call did not take place after all. What the bucket may have regained of it meanwhile is not given again:
 * it went to others, or the bucket is full. `cost` 3 of a bucket that regains one a second, given back after 2 s, gives 1.
 */
export function tokenBucketGive(
  rule: TokenBucketRule,
  state: TokenBucketState,
  cost: number,
  takenAt: number,
  now: number,
): void {
  const left = cost * rule.unitUs - Math.max(0, now - takenAt);
  if (left > 0) state.tat -= left;
}

/** Whole units that can be had now. */
export function tokenBucketRemaining(rule: TokenBucketRule, state: TokenBucketState, now: number): number {
  return rule.capacity - Math.ceil(debt(rule, state, now) / rule.unitUs);
}

/** Microseconds until the bucket is full. */
export function tokenBucketReset(rule: TokenBucketRule, state: TokenBucketState, now: number): number {
  return debt(rule, state, now);
}

/** What is missing from a full bucket, as time. A clock that was set back leaves the bucket empty, not worse. */
function debt(rule: TokenBucketRule, state: TokenBucketState, now: number): number {
  const ahead = state.tat - now;
  if (ahead <= 0) return 0;
  const whole = rule.capacity * rule.unitUs;
  return ahead < whole ? ahead : whole;
}
