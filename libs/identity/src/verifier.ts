import { compactVerify } from 'jose';
import { Problem, toProblem } from '@sluice/problem';
import { type Caller, callerOf, type ClaimNames, sluiceClaims } from './caller.js';
import { type JsonWebKeySet, KeySource, type VerificationKey } from './key-source.js';
import { isExpiredAtSight } from './expired-at-sight.js';
import { RecentTexts } from './recent-texts.js';
import { refusals } from './refusals.js';
import { RevocationList } from './revocation-list.js';
import { type Algorithm, readToken, splitToken, type TokenParts, type UnverifiedToken } from './token-structure.js';
import { VerdictCache } from './verdict-cache.js';

export interface VerifierOptions {
  /** `iss` that tokens must have; undefined: any. */
  readonly issuer: string | undefined;
  /** `aud` that tokens must have or contain; undefined: any. */
  readonly audience: string | undefined;
  /** Fetches the issuer's key set. Called at most once per cool-down; must end by itself. */
  readonly keys: () => Promise<JsonWebKeySet>;
  /** Told of each fetch that gave no set, or one without a key that can be used. The keys stay as they were. */
  readonly onKeysMissed?: (error: unknown) => void;
  /** ES256 unless told otherwise. */
  readonly algorithms?: readonly Algorithm[];
  /** `typ` that tokens must have, for example `at+jwt`; undefined: any. */
  readonly typ?: string | undefined;
  readonly claims?: Partial<ClaimNames>;
  /** The tenant of tokens that name none. */
  readonly defaultTenant?: string;
  /** How far `nbf` and `iat` may be ahead of this clock, in milliseconds. `exp` is exact: who is told too early refreshes. */
  readonly clockToleranceMs?: number;
  /** Verdicts that are kept. */
  readonly cacheSize?: number;
  readonly keyCoolDownMs?: number;
  readonly keyMaxAgeMs?: number;
  /** How long a token with an unknown key waits for a fetch, in milliseconds. */
  readonly keyWaitMs?: number;
  /** New tokens that are judged at the same time; more are refused as OVERLOADED. */
  readonly concurrencyMax?: number;
  readonly revocations?: RevocationList;
}

/** Counts since the start, for metrics. */
export interface VerifierStats {
  readonly cached: number;
  readonly verified: number;
  readonly expired: number;
  readonly refused: number;
  readonly keyFetches: number;
  readonly keyFetchFailures: number;
  readonly cacheEntries: number;
}

/** Who holds a token, or why it is refused: TOKEN_INVALID, TOKEN_EXPIRED, SESSION_REVOKED; UNAVAILABLE, OVERLOADED. */
export type Verdict = Caller | Problem;

/** Whether a token that is not known may be looked into, which can cost a signature; or why not. */
export type Leave = () => Problem | undefined | Promise<Problem | undefined>;

export interface TokenVerifier {
  /**
   * Who holds this token. A verdict that is known comes back at once; a new token gives a promise.
   *
   * @param endedSessions whether a token counts although its session has ended, as for signing out twice
   * @throws Problem (or rejects with it) TOKEN_INVALID, TOKEN_EXPIRED, SESSION_REVOKED; UNAVAILABLE when the keys cannot be had,
   *   OVERLOADED when too many new tokens come at once
   */
  verify(token: string, nowMs?: number, endedSessions?: boolean): Caller | Promise<Caller>;
  /**
   * The same as a value: in a storm of refusals, throwing each would cost more than finding it.
   *
   * @param leave asked before a token is looked into that is neither known nor plainly expired; what it gives instead of leave is
   *   the verdict. Not asked for those who wait for the same token.
   */
  judge(token: string, nowMs: number, endedSessions: boolean, leave?: Leave): Verdict | Promise<Verdict>;
  /** Whether keys are there; asks for them when they are not, without waiting. */
  ready(nowMs?: number): boolean;
  /** Refuses the session's tokens from now on until they have expired. */
  revoke(sessionId: string, untilMs: number): void;
  readonly revocations: RevocationList;
  stats(): VerifierStats;
}

interface Accepted {
  readonly caller: Caller;
  readonly key: VerificationKey;
}

interface Refused {
  readonly problem: Problem;
  /** The key set that the verdict was reached with: another one may know the key. */
  readonly keysVersion: number;
}

/**
 * Clients whose tokens expired together come back together, each with a token that nobody knows: a thousand of them should wait for
 * their signatures, at 0.2 ms each, and not be turned away.
 */
const NEW_TOKENS_MAX = 2000;

export function createVerifier(options: VerifierOptions): TokenVerifier {
  return new JwtVerifier(options);
}

class JwtVerifier implements TokenVerifier {
  readonly revocations: RevocationList;
  private readonly expected;
  private readonly keys: KeySource;
  private readonly claimNames: ClaimNames;
  private readonly accepted: VerdictCache<Accepted>;
  private readonly refused: VerdictCache<Refused>;
  private readonly expired = new RecentTexts();
  private readonly underWay = new Map<string, Promise<Accepted>>();
  private readonly keyWaitMs: number;
  private readonly concurrencyMax: number;
  private readonly counts = { cached: 0, verified: 0, expired: 0, refused: 0 };

  constructor(private readonly options: VerifierOptions) {
    const { cacheSize = 20_000, keyCoolDownMs = 10_000, keyMaxAgeMs = 60_000 } = options;
    this.expected = {
      issuer: options.issuer,
      audience: options.audience,
      algorithms: options.algorithms ?? ['ES256'],
      typ: options.typ,
      clockToleranceMs: options.clockToleranceMs ?? 5000,
    } as const;
    this.revocations = options.revocations ?? new RevocationList();
    this.keys = new KeySource({
      fetchKeys: options.keys,
      coolDownMs: keyCoolDownMs,
      maxAgeMs: keyMaxAgeMs,
      onFailure: options.onKeysMissed,
    });
    this.claimNames = { ...sluiceClaims, ...options.claims };
    this.accepted = new VerdictCache(cacheSize);
    this.refused = new VerdictCache(Math.ceil(cacheSize / 4));
    this.keyWaitMs = options.keyWaitMs ?? 100;
    this.concurrencyMax = options.concurrencyMax ?? NEW_TOKENS_MAX;
  }

  verify(token: string, nowMs = Date.now(), endedSessions = false): Caller | Promise<Caller> {
    const verdict = this.judge(token, nowMs, endedSessions);
    return verdict instanceof Promise ? verdict.then(callerOrThrow) : callerOrThrow(verdict);
  }

  judge(text: string, nowMs: number, endedSessions: boolean, leave?: Leave): Verdict | Promise<Verdict> {
    this.keys.refreshWhenOld(nowMs);
    if (this.expired.has(text)) return this.count(refusals.expired);
    const known = this.accepted.get(text);
    if (known && !known.key.withdrawn) {
      this.counts.cached++;
      return this.stillValid(known.caller, nowMs, endedSessions);
    }
    const refused = this.refused.get(text);
    if (refused && this.stands(refused, nowMs)) return this.count(refused.problem);
    const verifying = this.underWay.get(text) ?? this.begin(text, nowMs, leave);
    if (verifying instanceof Problem) return verifying;
    return verifying.then(({ caller }) => this.stillValid(caller, nowMs, endedSessions), toProblem);
  }

  ready(nowMs = Date.now()): boolean {
    if (this.keys.isEmpty) void this.keys.refresh(nowMs);
    return !this.keys.isEmpty;
  }

  revoke(sessionId: string, untilMs: number): void {
    this.revocations.revoke(sessionId, untilMs);
  }

  stats(): VerifierStats {
    const { fetches: keyFetches, fetchFailures: keyFetchFailures } = this.keys;
    return { ...this.counts, keyFetches, keyFetchFailures, cacheEntries: this.accepted.size + this.refused.size };
  }

  private stillValid(caller: Caller, nowMs: number, endedSessions: boolean): Verdict {
    if (caller.expiresAtMs <= nowMs) return this.count(refusals.expired);
    if (!endedSessions && caller.session !== '' && this.revocations.isRevoked(caller.session, nowMs)) {
      return this.count(refusals.revoked);
    }
    return caller;
  }

  /** An unknown key may be published at any time: the cool-down decides when the issuer is asked again. */
  private stands(refused: Refused, nowMs: number): boolean {
    if (refused.keysVersion !== this.keys.version) return false;
    return refused.problem !== refusals.unknownKey || !this.keys.mayFetch(nowMs);
  }

  private count(problem: Problem): Problem {
    this.counts[problem === refusals.expired ? 'expired' : 'refused']++;
    return problem;
  }

  /** What can be seen at once; then, with leave, the checks that need no key, and the signature. */
  private begin(text: string, nowMs: number, leave: Leave | undefined): Problem | Promise<Accepted> {
    const parts = splitToken(text);
    if (!(parts instanceof Problem) && isExpiredAtSight(parts.payload, nowMs)) {
      this.expired.add(text);
      return this.count(refusals.expired);
    }
    if (this.underWay.size >= this.concurrencyMax) return this.count(refusals.busy);
    const asked = leave?.();
    if (asked instanceof Problem) return asked;
    const accepting = asked
      ? asked.then((refusal) => acceptedOrThrow(refusal ?? this.accept(text, parts, nowMs)))
      : this.accept(text, parts, nowMs);
    if (accepting instanceof Problem) return accepting;
    // Whoever shows the same token meanwhile waits for the same verdict.
    const verifying = accepting.finally(() => this.underWay.delete(text));
    this.underWay.set(text, verifying);
    return verifying;
  }

  private accept(text: string, parts: TokenParts | Problem, nowMs: number): Problem | Promise<Accepted> {
    if (parts instanceof Problem) return this.refuse(text, parts);
    let token: UnverifiedToken;
    try {
      token = readToken(parts, this.expected, nowMs);
    } catch (problem) {
      return this.refuse(text, problem as Problem);
    }
    const caller = callerOf(token.claims, this.claimNames, this.options.defaultTenant ?? '');
    if (!caller) return this.refuse(text, refusals.claims);
    return this.checkSignature(text, token, nowMs).then((key) => {
      this.counts.verified++;
      const verdict = { caller, key };
      this.accepted.set(text, verdict);
      return verdict;
    });
  }

  private async checkSignature(text: string, token: UnverifiedToken, nowMs: number): Promise<VerificationKey> {
    const key = this.keys.find(token.kid, token.alg) ?? (await this.fetchKey(token, nowMs));
    if (!key) throw this.refuse(text, refusals.unknownKey);
    try {
      await compactVerify(text, await this.keys.import(key, token.alg), { algorithms: [token.alg] });
      return key;
    } catch {
      throw this.refuse(text, refusals.signature);
    }
  }

  /**
   * @throws Problem UNAVAILABLE when it cannot be known in time whether there is such a key; TOKEN_INVALID, not remembered, when it
   *   is too early to ask, so that a key that has just been published is found with the next fetch
   */
  private async fetchKey(token: UnverifiedToken, nowMs: number): Promise<VerificationKey | undefined> {
    const fetching = this.keys.refresh(nowMs);
    if (fetching) {
      const arrived = await within(fetching, this.keyWaitMs);
      if (!arrived) throw this.count(refusals.keysUnavailable);
    } else {
      throw this.count(this.keys.isEmpty ? refusals.keysUnavailable : refusals.unknownKey);
    }
    return this.keys.find(token.kid, token.alg);
  }

  /** Remembers a refusal that time does not change. */
  private refuse(text: string, problem: Problem): Problem {
    if (problem !== refusals.notYetValid && problem !== refusals.tooLong) {
      this.refused.set(text, { problem, keysVersion: this.keys.version });
    }
    return this.count(problem);
  }
}

function callerOrThrow(verdict: Verdict): Caller {
  if (verdict instanceof Problem) throw verdict;
  return verdict;
}

function acceptedOrThrow(accepting: Problem | Promise<Accepted>): Promise<Accepted> {
  if (accepting instanceof Problem) throw accepting;
  return accepting;
}

/** What the promise gives, or false when that takes too long. */
async function within(promise: Promise<boolean>, waitMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<false>((resolve) => {
    timer = setTimeout(resolve, waitMs, false);
  });
  try {
    return await Promise.race([promise, tooLate]);
  } finally {
    clearTimeout(timer);
  }
}
