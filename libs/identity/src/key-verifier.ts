import { Problem, toProblem } from '@sluice/problem';
import { type ApiKeyEnvironment, apiKeyDigest, environmentOfApiKey } from './api-key.js';
import type { Caller } from './caller.js';
import { ownText } from './own-text.js';
import { refusals } from './refusals.js';
import { VerdictCache } from './verdict-cache.js';
import type { Leave, Verdict } from './verifier.js';

/** What is known of a key where keys are kept. */
export interface LookedUpKey {
  /** Empty: there is no such key. */
  readonly keyId: string;
  /** Who comes with it, or why it is refused. */
  readonly verdict: Verdict;
}

export interface KeyVerifierOptions {
  /** Asks about the key that has this SHA-256; the key itself never travels. Must end by itself; rejects with Problem UNAVAILABLE. */
  readonly lookUp: (digest: Buffer) => Promise<LookedUpKey>;
  /** Keys of others are refused at sight. */
  readonly environments: readonly ApiKeyEnvironment[];
  /** How long a verdict serves, also while nobody can be asked, in milliseconds. From the half of it on it is asked for again meanwhile. */
  readonly maxAgeMs: number;
  /** While it says false nobody tells of revoked keys, and a verdict serves for a second; undefined: verdicts serve in any case. */
  readonly told?: (() => boolean) | undefined;
  /** Verdicts that are kept. */
  readonly cacheSize: number;
  /** Keys that are asked about at the same time; more are refused as OVERLOADED. */
  readonly concurrencyMax?: number;
}

/** Counts since the start, for metrics. */
export interface KeyVerifierStats {
  readonly cached: number;
  readonly lookUps: number;
  readonly refused: number;
  readonly cacheEntries: number;
}

interface Entry {
  readonly caller: Caller;
  readonly askedAtMs: number;
  refreshing: boolean;
  /** The key was revoked or changed since. */
  stale: boolean;
}

interface Refused {
  readonly problem: Problem;
  readonly untilMs: number;
}

/** Of a refusal: a key that was made a moment ago works by then. Of any verdict while nobody tells of revoked keys. In milliseconds. */
const SHORT_MS = 1000;
const LOOK_UPS_MAX = 500;
/** A key that changes again and again while it is asked about is not let in. */
const ATTEMPTS_MAX = 3;

/**
 * Judges API keys beside the verifier of tokens: first by their form, then by what is known of them, then by asking, once for all who
 * show the same key at the same time.
 */
export class KeyVerifier {
  private readonly accepted: VerdictCache<Entry>;
  private readonly refused: VerdictCache<Refused>;
  private readonly entryOf = new WeakMap<Caller, Entry>();
  private readonly underWay = new Map<string, Promise<Verdict>>();
  private readonly counts = { cached: 0, lookUps: 0, refused: 0 };
  private asking = 0;
  private changes = 0;
  /** The latest change of each key that changed while something was asked. */
  private readonly changedMeanwhile = new Map<string, number>();

  constructor(private readonly options: KeyVerifierOptions) {
    this.accepted = new VerdictCache(options.cacheSize);
    this.refused = new VerdictCache(Math.ceil(options.cacheSize / 4));
  }

  /**
   * Who comes with this key. A verdict that is known comes back at once; anything else gives a promise, which never rejects.
   *
   * @param leave asked before somebody is asked about the key; what it gives instead of leave is the verdict
   * @returns Problem TOKEN_INVALID for what is no key or nobody's, KEY_ENDED, UNAVAILABLE, OVERLOADED otherwise
   */
  judge(text: string, nowMs: number, leave?: Leave): Verdict | Promise<Verdict> {
    const entry = this.accepted.get(text);
    if (entry !== undefined && !entry.stale) {
      const { caller } = entry;
      const ageMs = nowMs - entry.askedAtMs;
      const maxAgeMs = this.options.told?.() === false ? SHORT_MS : this.options.maxAgeMs;
      if (caller.expiresAtMs <= nowMs) return this.count(refusals.keyExpired);
      if (ageMs < maxAgeMs) {
        if (ageMs > this.options.maxAgeMs / 2) this.refresh(text, entry, nowMs);
        this.counts.cached++;
        return caller;
      }
    }
    const refused = this.refused.get(text);
    if (refused !== undefined && refused.untilMs > nowMs) return this.count(refused.problem);
    return this.underWay.get(text) ?? this.begin(text, nowMs, leave);
  }

  /** These keys were revoked or changed: what is known of them counts no more. */
  forget(keyIds: ReadonlySet<string>): void {
    this.changes++;
    if (this.asking > 0) for (const id of keyIds) this.changedMeanwhile.set(id, this.changes);
    for (const entry of this.accepted.values()) if (keyIds.has(entry.caller.key?.id ?? '')) entry.stale = true;
  }

  /** Whether a verdict that was given still counts, as far as is known. */
  stands(caller: Caller): boolean {
    return this.entryOf.get(caller)?.stale === false;
  }

  stats(): KeyVerifierStats {
    return { ...this.counts, cacheEntries: this.accepted.size + this.refused.size };
  }

  private begin(text: string, nowMs: number, leave: Leave | undefined): Verdict | Promise<Verdict> {
    const environment = environmentOfApiKey(text);
    if (environment === undefined) return this.count(refusals.keyMalformed);
    if (!this.options.environments.includes(environment)) return this.count(refusals.keyEnvironment);
    if (this.underWay.size >= (this.options.concurrencyMax ?? LOOK_UPS_MAX)) return this.count(refusals.keysBusy);
    const asked = leave?.();
    if (asked instanceof Problem) return asked;
    const own = ownText(text);
    const judging = (asked ? asked.then((refusal) => refusal ?? this.ask(own, nowMs)) : this.ask(own, nowMs))
      .catch(toProblem)
      .finally(() => this.underWay.delete(own));
    this.underWay.set(own, judging);
    return judging;
  }

  /** Asks in the background; until the answer is there, or when there is none, the verdict serves as it is. */
  private refresh(text: string, entry: Entry, nowMs: number): void {
    if (entry.refreshing || this.asking >= LOOK_UPS_MAX) return;
    entry.refreshing = true;
    this.ask(ownText(text), nowMs)
      .then(
        (verdict) => {
          if (verdict instanceof Problem) entry.stale = true;
        },
        () => undefined,
      )
      .finally(() => (entry.refreshing = false));
  }

  /** @throws Problem UNAVAILABLE */
  private async ask(text: string, nowMs: number): Promise<Verdict> {
    const digest = apiKeyDigest(text);
    this.asking++;
    try {
      for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        const before = this.changes;
        this.counts.lookUps++;
        const { keyId, verdict } = await this.options.lookUp(digest);
        // What was read may be from before the change.
        if ((this.changedMeanwhile.get(keyId) ?? 0) > before) continue;
        return this.keep(text, verdict, nowMs);
      }
      throw refusals.apiKeysUnavailable;
    } finally {
      if (--this.asking === 0) this.changedMeanwhile.clear();
    }
  }

  private keep(text: string, verdict: Verdict, nowMs: number): Verdict {
    if (verdict instanceof Problem) {
      this.refused.set(text, { problem: verdict, untilMs: nowMs + SHORT_MS });
      return this.count(verdict);
    }
    const entry: Entry = { caller: verdict, askedAtMs: nowMs, refreshing: false, stale: false };
    this.accepted.set(text, entry);
    this.entryOf.set(verdict, entry);
    return verdict;
  }

  private count(problem: Problem): Problem {
    this.counts.refused++;
    return problem;
  }
}
