import { compactVerify } from 'jose';
import type { Problem } from '@sluice/problem';
import { type Caller, callerOf, type ClaimNames, sluiceClaims } from './caller.js';
import { type JsonWebKeySet, KeySource, type VerificationKey } from './key-source.js';
import { refusals } from './refusals.js';
import { RevocationList } from './revocation-list.js';
import { type Algorithm, readToken, type UnverifiedToken } from './token-structure.js';
import { VerdictCache } from './verdict-cache.js';

export interface VerifierOptions {
  /** `iss` that tokens must have; undefined: any. */
  readonly issuer: string | undefined;
  /** `aud` that tokens must have or contain; undefined: any. */
  readonly audience: string | undefined;
  /** Fetches the issuer's key set. Called at most once per cool-down; must end by itself. */
  readonly keys: () => Promise<JsonWebKeySet>;
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
  /** Signatures that are checked at the same time. */
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

export interface TokenVerifier {
  /**
   * Who holds this token. A verdict that is known comes back at once; a new token gives a promise.
   *
   * @param endedSessions whether a token counts although its session has ended, as for signing out twice
   * @param beforeSignature called when a signature is to be checked, which is what an unknown token costs; may refuse instead.
   *   Not called for those who wait for the same token.
   * @throws Problem (or rejects with it) TOKEN_INVALID, TOKEN_EXPIRED, SESSION_REVOKED; UNAVAILABLE when the keys cannot be had,
   *   OVERLOADED when too many new tokens come at once
   */
  verify(
    token: string,
    nowMs?: number,
    endedSessions?: boolean,
    beforeSignature?: () => void | Promise<void>,
  ): Caller | Promise<Caller>;
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
    this.keys = new KeySource({ fetchKeys: options.keys, coolDownMs: keyCoolDownMs, maxAgeMs: keyMaxAgeMs });
    this.claimNames = { ...sluiceClaims, ...options.claims };
    this.accepted = new VerdictCache(cacheSize);
    this.refused = new VerdictCache(Math.ceil(cacheSize / 4));
    this.keyWaitMs = options.keyWaitMs ?? 100;
    this.concurrencyMax = options.concurrencyMax ?? 256;
  }

  verify(
    token: string,
    nowMs = Date.now(),
    endedSessions = false,
    beforeSignature?: () => void | Promise<void>,
  ): Caller | Promise<Caller> {
    this.keys.refreshWhenOld(nowMs);
    const known = this.accepted.get(token);
    if (known && !known.key.withdrawn) {
      this.counts.cached++;
      return this.stillValid(known.caller, nowMs, endedSessions);
    }
    const refused = this.refused.get(token);
    if (refused && refused.keysVersion === this.keys.version) throw this.count(refused.problem);
    const verifying = this.underWay.get(token) ?? this.begin(token, nowMs, beforeSignature);
    return verifying.then(({ caller }) => this.stillValid(caller, nowMs, endedSessions));
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

  private stillValid(caller: Caller, nowMs: number, endedSessions: boolean): Caller {
    if (caller.expiresAtMs <= nowMs) throw this.count(refusals.expired);
    if (!endedSessions && caller.session !== '' && this.revocations.isRevoked(caller.session, nowMs)) {
      throw this.count(refusals.revoked);
    }
    return caller;
  }

  private count(problem: Problem): Problem {
    this.counts[problem === refusals.expired ? 'expired' : 'refused']++;
    return problem;
  }

  /** The checks that need no key, at once; then the signature. */
  private begin(
    text: string,
    nowMs: number,
    beforeSignature: (() => void | Promise<void>) | undefined,
  ): Promise<Accepted> {
    if (this.underWay.size >= this.concurrencyMax) throw this.count(refusals.busy);
    const token = this.readOrRefuse(text, nowMs);
    const caller = callerOf(token.claims, this.claimNames, this.options.defaultTenant ?? '');
    if (!caller) throw this.refuse(text, refusals.claims);
    const allowing = beforeSignature?.();
    const check = () => this.checkSignature(text, token, nowMs);
    const verifying = (allowing ? allowing.then(check) : check())
      .then((key) => {
        this.counts.verified++;
        const verdict = { caller, key };
        this.accepted.set(text, verdict);
        return verdict;
      })
      .finally(() => this.underWay.delete(text));
    this.underWay.set(text, verifying);
    return verifying;
  }

  private readOrRefuse(text: string, nowMs: number): UnverifiedToken {
    try {
      return readToken(text, this.expected, nowMs);
    } catch (problem) {
      throw this.refuse(text, problem as Problem);
    }
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
