import { createPublicKey } from 'node:crypto';
import { type CryptoKey, importJWK, type JWK } from 'jose';
import type { Algorithm } from './token-structure.js';

/** A JSON Web Key Set (RFC 7517 section 5). */
export interface JsonWebKeySet {
  readonly keys: readonly Readonly<Record<string, unknown>>[];
}

/** One key of the set. A verdict keeps it to know whether it is still published. */
export interface VerificationKey {
  readonly kid: string | undefined;
  readonly jwk: JWK;
  /** The set does not hold it any more. */
  withdrawn: boolean;
}

export interface KeySourceOptions {
  /** Fetches the set; called at most once per cool-down. Must end by itself. */
  readonly fetchKeys: () => Promise<JsonWebKeySet>;
  /** The least time between two fetches because of unknown keys, in milliseconds. */
  readonly coolDownMs: number;
  /** The set is fetched again in the background when it is older, in milliseconds. */
  readonly maxAgeMs: number;
  /** A fetch gave no set, or one without a key that can be used: the keys stay as they were. */
  readonly onFailure?: ((error: unknown) => void) | undefined;
}

/** How long to wait after a failure while there are no keys at all, in milliseconds. */
const EMPTY_RETRY_MS = 1000;
const KEYS_MAX = 100;

const familyOf: Record<Algorithm, { readonly kty: string; readonly crv?: string }> = {
  ES256: { kty: 'EC', crv: 'P-256' },
  ES384: { kty: 'EC', crv: 'P-384' },
  EdDSA: { kty: 'OKP', crv: 'Ed25519' },
  RS256: { kty: 'RSA' },
  RS512: { kty: 'RSA' },
  PS256: { kty: 'RSA' },
  PS512: { kty: 'RSA' },
};

/** The keys of one issuer, fetched when they are missing or old, and never more often than the cool-down allows. */
export class KeySource {
  private keys: VerificationKey[] = [];
  private imported = new Map<string, Promise<CryptoKey>>();
  private fetching: Promise<boolean> | undefined;
  private triedAtMs = Number.NEGATIVE_INFINITY;
  private fetchedAtMs = Number.NEGATIVE_INFINITY;
  /** Grows with every set that differs from the one before: what was unknown may be known now. */
  version = 0;
  fetches = 0;
  fetchFailures = 0;

  constructor(private readonly options: KeySourceOptions) {}

  get isEmpty(): boolean {
    return this.keys.length === 0;
  }

  /** The key that fits; without a `kid` there must be exactly one. */
  find(kid: string | undefined, alg: Algorithm): VerificationKey | undefined {
    const fitting = this.keys.filter((key) => (kid === undefined || key.kid === kid) && fits(key.jwk, alg));
    return kid === undefined && fitting.length > 1 ? undefined : fitting[0];
  }

  import(key: VerificationKey, alg: Algorithm): Promise<CryptoKey> {
    const id = `${alg} ${this.keys.indexOf(key)}`;
    let imported = this.imported.get(id);
    if (!imported) {
      imported = importJWK(key.jwk, alg) as Promise<CryptoKey>;
      this.imported.set(id, imported);
    }
    return imported;
  }

  /** Fetches in the background when the set is old. */
  refreshWhenOld(nowMs: number): void {
    if (nowMs - this.fetchedAtMs > this.options.maxAgeMs) void this.refresh(nowMs);
  }

  /**
   * Fetches unless that was tried within the cool-down; joins a fetch that is under way.
   *
   * @returns whether a set arrived; undefined when it is too early to ask again
   */
  refresh(nowMs: number): Promise<boolean> | undefined {
    if (this.fetching) return this.fetching;
    if (!this.mayFetch(nowMs)) return undefined;
    this.triedAtMs = nowMs;
    this.fetching = this.fetch(nowMs).finally(() => {
      this.fetching = undefined;
    });
    return this.fetching;
  }

  /** Whether the cool-down since the last fetch is over. */
  mayFetch(nowMs: number): boolean {
    const pauseMs = this.isEmpty ? Math.min(EMPTY_RETRY_MS, this.options.coolDownMs) : this.options.coolDownMs;
    return this.fetching === undefined && nowMs - this.triedAtMs >= pauseMs;
  }

  private async fetch(nowMs: number): Promise<boolean> {
    this.fetches++;
    try {
      const { keys } = await this.options.fetchKeys();
      const usable = keys.slice(0, KEYS_MAX).filter(isVerificationKey).map(publicMembers).filter(isWellFormed);
      // An issuer that is starting, or a proxy before it, may answer `{"keys":[]}`: that withdraws nothing.
      if (usable.length === 0)
        throw new Error(`a key set of ${keys.length} keys, none of which can verify a signature`);
      this.replace(usable);
      this.fetchedAtMs = nowMs;
      return true;
    } catch (error) {
      this.fetchFailures++;
      this.options.onFailure?.(error);
      return false;
    }
  }

  /** Keys that stay the same stay the same objects, so verdicts under them stay valid. */
  private replace(published: readonly JWK[]): void {
    const before = new Map(this.keys.map((key) => [JSON.stringify(key.jwk), key]));
    const countBefore = before.size;
    this.keys = published.map((jwk) => {
      const text = JSON.stringify(jwk);
      const known = before.get(text);
      before.delete(text);
      return known ?? { kid: jwk.kid, jwk, withdrawn: false };
    });
    const unchanged = before.size === 0 && this.keys.length === countBefore;
    if (unchanged) return;
    this.version++;
    for (const gone of before.values()) gone.withdrawn = true;
    this.imported = new Map();
  }
}

function isVerificationKey(jwk: Readonly<Record<string, unknown>>): boolean {
  const forSignatures = jwk['use'] === undefined || jwk['use'] === 'sig';
  const named = jwk['kid'] === undefined || typeof jwk['kid'] === 'string';
  return forSignatures && named && (jwk['kty'] === 'EC' || jwk['kty'] === 'RSA' || jwk['kty'] === 'OKP');
}

function publicMembers(jwk: Readonly<Record<string, unknown>>): JWK {
  const { kty, kid, alg, crv, x, y, n, e } = jwk;
  return { kty, kid, alg, crv, x, y, n, e } as JWK;
}

/** Whether the members make a public key: a set may be cut or mangled on its way. */
function isWellFormed(jwk: JWK): boolean {
  try {
    createPublicKey({ key: jwk as Record<string, unknown>, format: 'jwk' });
    return true;
  } catch {
    return false;
  }
}

function fits(jwk: JWK, alg: Algorithm): boolean {
  const { kty, crv } = familyOf[alg];
  return jwk.kty === kty && (crv === undefined || jwk.crv === crv) && (jwk.alg === undefined || jwk.alg === alg);
}
