/**
 * A limit that follows what the service can do at a time: as many calls in flight as it takes to keep it busy, and hardly more,
 * since the rest would wait inside of it where nobody can take them back.
 *
 * It compares what calls take (W, the mean of a cohort) with what they take when none waits for another (W0, learned while the
 * limit is not met, and by holding the limit down for a moment now and then). While W is near W0 the limit L rises; above, it
 * falls in proportion. The mean is what counts because quantiles see one of two kinds of calls alone. Little's law says where
 * it ends: L = throughput · (W0 + slack).
 *
 *   learning ── first cohort ──▶ growing ── W too high ──▶ limited ◀──▶ probing
 *                                   ▲──── limit not met for a while ────┘
 *
 * ADR 0042 has the measurements. Times are milliseconds.
 */
import { Cohort } from './cohort.js';
import type { AdmittedCall, Limiter, SendingEnd } from './limiter.js';

export interface AdaptiveLimitOptions {
  readonly max: number;
}

/**
 * Where the limit begins, and below which only missing answers take it: a handful of long calls is to leave places for others.
 * The answers that are waited for before it is raised the first time.
 */
const INITIAL = 32;
const FIRST_ANSWERS = 8;
/** While only the first answers are known, they raise the limit up to this. */
const LEARNING_MAX = 64;
/** Before anything has been answered, the limit doubles so often: a service whose calls take long may still take many. */
const GROWS_EVERY_MS = 400;
/**
 * W above W0 by this factor and by this share of the callers' patience is waiting. At least some: this process itself is late at
 * times. At most some: patience that nobody has asked for, as that of a default, says little.
 */
const TOLERANCE = 1.1;
const SLACK_SHARE = 0.05;
const SLACK_MIN_MS = 25;
const SLACK_MAX_MS = 500;
/** The weights of a caller with less patience than is thought, and with more: few who have little count more than many with much. */
const LESS_PATIENCE_WEIGHT = 0.05;
const MORE_PATIENCE_WEIGHT = 0.0005;
/** A cohort is complete after so long with as many calls as its spread asks for; or later with fewer. */
const COHORT_MS = 100;
const COHORT_MIN = 20;
const COHORT_MAX = 400;
const COHORT_ERROR = 0.1;
const COHORT_LONGER_MS = 500;
const COHORT_LONGEST_MS = 3000;
const COHORT_FEWEST = 5;
/** A cohort is judged when so many are back, or after so long or so many times its mean. */
const COHORT_BACK = 0.97;
const COHORT_WAIT_MS = 500;
const COHORT_WAIT_MEANS = 5;
/** More late calls than this share is overload, whatever the mean says. */
const LATE_SHARE_MAX = 0.05;
/** The limit is held down for so long; calls sent after the guard find a service that has caught up. */
const PROBE_MS = 250;
const PROBE_GUARD_MS = 75;
const PROBE_SHARE = 0.75;
const PROBE_EVERY_MS = 10_000;
const PROBE_UNSURE_MS = 1000;
/** A service is saturated when more than this share found the limit met, so many cohorts in a row. */
const BLOCKED_SHARE = 0.05;
const SATURATED_COHORTS = 3;
const RATES_KEPT = 5;

export class AdaptiveLimit implements Limiter {
  limit: number;
  latency = 0;
  unknown = true;
  slack = SLACK_MIN_MS;
  private level = INITIAL;
  private cohort: Cohort;
  private nextId = 1;
  /** The mean of an unloaded service; 0: not known. */
  private base = 0;
  patience = 0;
  /** How many calls `base` was learned from, and its variance. */
  private baseCount = 0;
  private baseVariance = 0;
  /** Standard deviation over mean. */
  private spread = 1;
  /** Calls that ended in a millisecond, of the last cohorts. */
  private readonly rates: number[] = [];
  private growing = true;
  private metAt = 0;
  private grewAt = -1;
  private probeNow = false;
  private probedAt = 0;
  /** A probe has confirmed `base`. */
  private sure = false;
  private mayRaise = false;
  private saturated = 0;
  private tickedAt = 0;
  /** The limit and the latency when the limit began to fall. */
  private mark: { readonly limit: number; readonly latency: number } | undefined;
  private fellFrom = 0;
  /** Probes so far. */
  probes = 0;

  constructor(private readonly options: AdaptiveLimitOptions) {
    this.level = Math.min(INITIAL, options.max);
    this.limit = this.level;
    this.cohort = new Cohort(this.nextId++, 0, false);
  }

  blocked(now: number): void {
    this.cohort.met = true;
    this.cohort.blocked++;
    this.metAt = now;
    this.tick(now, true);
  }

  get unloaded(): number {
    return this.base || this.cohort.meanBack;
  }

  sent(call: AdmittedCall, now: number, inFlight: number): void {
    const { cohort } = this;
    cohort.offered++;
    call.cohort = 0;
    if (call.deadline !== undefined) this.notePatience(call.deadline - (call.arrivedAt || now));
    if (cohort.shutAt >= 0) return;
    if (cohort.firstAt < 0) {
      // What was sent under another limit is to have left the service's queue first.
      if (inFlight > this.limit + 1 || (cohort.probing && now - cohort.openedAt < PROBE_GUARD_MS)) return;
      if (this.grewAt < 0) this.grewAt = now;
    }
    call.cohort = cohort.id;
    cohort.join(now);
    if (inFlight >= this.level * 0.9) {
      cohort.met = true;
      this.metAt = now;
    }
    this.shutWhenComplete(now);
  }

  ended(call: AdmittedCall, now: number, end: SendingEnd): void {
    const { cohort } = this;
    cohort.ended++;
    if (end === 'answered') this.unknown = false;
    const took = now - call.sentAt;
    if (call.cohort === cohort.id) {
      if (end === 'answered') {
        cohort.returned(call.sentAt, now, false);
        cohort.answered++;
        cohort.answerSum += took;
      }
      // That there was no answer for so long is something that is known; who left sooner could not have had one.
      else if (took >= 2 * this.unloaded) {
        cohort.returned(call.sentAt, now, true);
        this.notePatience(now - (call.arrivedAt || call.sentAt));
      } else cohort.withdrawn(call.sentAt);
    }
    if (this.growing && end === 'answered' && cohort.met) this.growByAnswer(took);
    this.tick(now, false);
  }

  private notePatience(ms: number): void {
    const { patience } = this;
    if (patience === 0) this.patience = ms;
    else this.patience += (ms < patience ? LESS_PATIENCE_WEIGHT : MORE_PATIENCE_WEIGHT) * (ms - patience);
    this.slack = Math.min(SLACK_MAX_MS, Math.max(SLACK_MIN_MS, SLACK_SHARE * this.patience));
  }

  /** Each answer in time lets another call go besides its own successor: the limit doubles in the time of a call. */
  private growByAnswer(took: number): void {
    if (this.base > 0) {
      if (took <= this.bearable) this.setLevel(this.level + 1);
      return;
    }
    const { back, meanBack } = this.cohort;
    // The first answers are all that is known: twice as long is too long.
    if (back < FIRST_ANSWERS || this.level >= LEARNING_MAX || took > meanBack + Math.max(meanBack, SLACK_MIN_MS))
      return;
    this.setLevel(this.level + 1);
  }

  private growByTime(now: number): void {
    if (!this.unknown || this.grewAt < 0 || now - this.grewAt < GROWS_EVERY_MS) return;
    this.grewAt = now;
    this.setLevel(this.level * 2);
  }

  /** W up to which nobody waits in the service. */
  private get bearable(): number {
    const unloaded = this.base + Math.sqrt(this.baseVariance);
    return Math.max(TOLERANCE * unloaded, this.base + this.slack);
  }

  private setLevel(level: number): void {
    this.level = Math.min(this.options.max, Math.max(1, level));
    if (!this.cohort.probing) this.limit = Math.floor(this.level);
  }

  private open(now: number, probing: boolean): void {
    this.cohort = new Cohort(this.nextId++, now, probing);
    this.limit = Math.floor(this.level);
  }

  // ---- time -----------------------------------------------------------------------------------------------------------

  /** How many calls tell the mean well enough. */
  private get wanted(): number {
    const calls = (this.spread / COHORT_ERROR) ** 2;
    return Math.min(COHORT_MAX, Math.max(COHORT_MIN, this.growing ? calls / 2 : calls));
  }

  private shutWhenComplete(now: number): void {
    const { cohort } = this;
    if (cohort.shutAt >= 0 || cohort.firstAt < 0) return;
    const open = now - cohort.firstAt;
    const complete =
      (open >= COHORT_MS && cohort.sent >= this.wanted) ||
      (open >= COHORT_LONGER_MS && cohort.sent >= COHORT_MIN) ||
      (open >= COHORT_LONGEST_MS && cohort.sent >= COHORT_FEWEST) ||
      open >= PROBE_EVERY_MS;
    if (complete) cohort.shutAt = now;
  }

  tick(now: number, waiting: boolean): void {
    const { cohort } = this;
    if (waiting) this.growByTime(now);
    this.shutWhenComplete(now);
    const before = this.tickedAt;
    this.tickedAt = now;
    if (cohort.probing && now - cohort.openedAt < PROBE_MS) return;
    if (cohort.probing && cohort.shutAt >= 0) this.limit = Math.floor(this.level);
    if (cohort.shutAt >= 0) {
      const patience = Math.max(COHORT_WAIT_MS, COHORT_WAIT_MEANS * (cohort.meanBack || this.base));
      if (cohort.out <= cohort.sent * (1 - COHORT_BACK) || now - cohort.shutAt > patience) return this.judge(now);
    } else if (cohort.probing && cohort.firstAt < 0) {
      // It could not come down to the limit.
      if (now - cohort.openedAt > Math.max(1000, 4 * this.base)) this.open(now, false);
      return;
    }
    if (!cohort.probing && !this.growing && this.saturated >= SATURATED_COHORTS) this.probeWhenDue(before, now);
  }

  private probeWhenDue(before: number, now: number): void {
    const slower = 2 ** Math.max(0, Math.round(Math.log2((this.base || 1) / 200)));
    const every = (this.sure ? PROBE_EVERY_MS : PROBE_UNSURE_MS) * slower;
    const asked = this.probeNow && now - this.probedAt > 2 * PROBE_UNSURE_MS;
    if (!asked && Math.floor(now / every) === Math.floor(before / every)) return;
    this.probedAt = now;
    this.probeNow = false;
    if (Math.floor(now / PROBE_EVERY_MS) !== Math.floor(before / PROBE_EVERY_MS)) this.mayRaise = true;
    this.probes++;
    this.open(now, true);
    this.limit = Math.max(1, Math.min(this.limit, Math.floor(PROBE_SHARE * this.rateMax * this.base)));
  }

  private get rateMax(): number {
    return Math.max(0, ...this.rates);
  }

  // ---- what a cohort tells -------------------------------------------------------------------------------------------

  private judge(now: number): void {
    const { cohort } = this;
    this.open(now, false);
    if (cohort.sent < cohort.withdrawals / 10 && cohort.withdrawals >= COHORT_FEWEST) return this.forget();
    if (cohort.sent < 3) return;
    const mean = cohort.mean(now);
    const { deviation, sent } = cohort;
    // Calls that nobody answers while others are answered at once are their callers' affair: they ask for what takes long, and leave.
    const answersLate = cohort.answered === 0 || cohort.answerSum / cohort.answered > this.bearable;
    const overload = answersLate && cohort.late / sent > LATE_SHARE_MAX;
    if (mean > 0) this.spread += 0.3 * (deviation / mean - this.spread);
    if (cohort.probing) return this.judgeProbe(cohort, mean, overload);
    this.latency = mean;
    this.rates.push(cohort.ended / Math.max(1, now - cohort.openedAt));
    if (this.rates.length > RATES_KEPT) this.rates.shift();
    const blocked = cohort.blocked / Math.max(1, cohort.offered + cohort.blocked);
    this.saturated = blocked > BLOCKED_SHARE ? this.saturated + 1 : 0;
    if (this.base === 0 && !overload && !this.unknown) this.learn(mean, deviation, sent);
    if (cohort.met || overload) return this.adjust(cohort, answersLate ? mean : this.base, overload);
    // The limit was not met: this is what a call takes. Or the callers' patience ends before the limit does: so only slowly upwards.
    if (mean > this.base) {
      this.base += Math.min(0.05, sent / (sent + 4 * this.wanted)) * (mean - this.base);
    } else this.learn(mean, deviation, sent);
    if (sent >= COHORT_MIN) this.sure = true;
    this.mark = undefined;
    if (now - this.metAt > 1000) this.growing = true;
  }

  /** Hardly anybody got an answer in the time of two calls, as far as that is known: perhaps it is known wrongly. */
  private forget(): void {
    this.base /= 2;
    this.sure = false;
    this.setLevel(this.level / 2);
  }

  private judgeProbe(cohort: Cohort, mean: number, overload: boolean): void {
    this.mark = undefined;
    const { mayRaise } = this;
    this.mayRaise = false;
    if (overload) {
      this.sure = false;
      return this.setLevel(this.level * (1 - cohort.late / cohort.sent / 2));
    }
    if (mean > this.base && !(mayRaise && mean >= 0.9 * this.latency)) {
      this.sure = true;
      return;
    }
    const was = this.base;
    const replaced = this.learn(mean, cohort.deviation, cohort.sent);
    this.sure = !replaced || this.base > was;
    // Lower than was known: perhaps it is lower yet. Higher: the service has become slower, since fewer calls are no faster, and the
    // limit had fallen for nothing.
    if (!replaced || this.base < was) return;
    this.growing = true;
    this.setLevel(Math.max(this.level, this.fellFrom / 2));
  }

  /**
   * A mean that was measured while nobody waited joins what is known by its weight; one that cannot be the same replaces it.
   * @returns whether it did
   */
  private learn(mean: number, deviation: number, count: number): boolean {
    const variance = deviation ** 2 / count;
    const enough = 0.5 * Math.min(COHORT_MAX, Math.max(COHORT_MIN, (this.spread / COHORT_ERROR) ** 2));
    const different =
      Math.abs(mean - this.base) > 2.5 * Math.sqrt(variance + this.baseVariance) &&
      Math.abs(mean / this.base - 1) > 0.1;
    if (this.base === 0 || (count >= enough && different)) {
      this.base = mean;
      this.baseCount = count;
      this.baseVariance = variance;
      return true;
    }
    this.base += (count / (count + this.baseCount)) * (mean - this.base);
    this.baseCount = Math.min(this.baseCount + count, 4 * this.wanted);
    this.baseVariance = deviation ** 2 / this.baseCount;
    return false;
  }

  /** The limit was met: does the service bear more, or is it too much already? */
  private adjust({ sent, late, deviation }: Cohort, mean: number, overload: boolean): void {
    const error = (1 + 10 / sent) * (deviation / Math.sqrt(sent));
    const { bearable } = this;
    let change = mean <= bearable ? 1 : Math.min(1, Math.max(0.5, bearable / Math.max(mean - error, 1e-9)));
    const near = Math.abs(mean - this.base) < 2 * Math.sqrt(deviation ** 2 / sent + this.baseVariance);
    if (this.growing && change === 1 && !overload && near) this.learn(mean, deviation, sent);
    if (overload) change = Math.min(change, 1 - late / sent / 2);
    if (change < 1) {
      const { mark } = this;
      if (!mark || mean < 0.85 * mark.latency || mean > 1.4 * mark.latency) {
        this.mark = { limit: this.level, latency: mean };
      }
      if (change < 0.92) this.growing = false;
    } else this.mark = undefined;
    const least = overload
      ? 1
      : Math.max(Math.min(INITIAL, this.level), Math.min(this.level, 0.8 * this.rateMax * bearable));
    const more = overload ? 0 : this.level < FIRST_ANSWERS ? this.level : Math.sqrt(this.level);
    this.setLevel(Math.max(least, this.level * change + more));
    this.noticeSlowness(mean, error, overload, sent);
  }

  /** The limit fell and the latency did not: the service itself is slower. The next probe may say so. */
  private noticeSlowness(mean: number, error: number, overload: boolean, sent: number): void {
    const { mark } = this;
    if (
      !mark ||
      overload ||
      sent < COHORT_MIN ||
      this.level > Math.max(0.6 * mark.limit, Math.min(INITIAL, mark.limit))
    )
      return;
    const slower = 1.5 * (this.base + Math.sqrt(this.baseVariance));
    if (mean < 0.85 * mark.latency || mean - 2 * error <= Math.max(slower, this.bearable)) return;
    this.sure = false;
    this.mayRaise = this.probeNow = true;
    this.fellFrom = mark.limit;
    this.mark = undefined;
  }
}
