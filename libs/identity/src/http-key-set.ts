import type { JsonWebKeySet } from './key-source.js';

const BYTES_MAX = 256 * 1024;

/**
 * Fetches key sets from one fixed URL over HTTPS (or HTTP, for an issuer on the own network), for `VerifierOptions.keys`.
 * Redirects are refused, so no issuer can send the gateway elsewhere.
 */
export function httpKeySet(url: string, timeoutMs = 3000): () => Promise<JsonWebKeySet> {
  return async () => {
    const { keys } = await fetchObject(url, timeoutMs);
    if (!Array.isArray(keys)) throw new Error(`${url} did not answer a key set`);
    return { keys: keys.filter((key) => typeof key === 'object' && key !== null) };
  };
}

/**
 * The same for an issuer that says in its metadata where its keys are (OpenID Connect Discovery 1.0 section 4, RFC 8414 section 3).
 * It is asked again after its keys could not be had.
 *
 * @param issuer as it stands in `iss`: an HTTPS (or HTTP) URL
 */
export function discoveredKeySet(issuer: string, timeoutMs = 3000): () => Promise<JsonWebKeySet> {
  let url: string | undefined;
  return async () => {
    url ??= await discoverKeySetUrl(issuer, timeoutMs);
    try {
      return await httpKeySet(url, timeoutMs)();
    } catch (error) {
      url = undefined;
      throw error;
    }
  };
}

async function discoverKeySetUrl(issuer: string, timeoutMs: number): Promise<string> {
  const { origin, pathname } = new URL(issuer);
  const path = pathname.replace(/\/$/, '');
  const metadata = await fetchObject(`${origin}${path}/.well-known/openid-configuration`, timeoutMs).catch(() =>
    fetchObject(`${origin}/.well-known/oauth-authorization-server${path}`, timeoutMs),
  );
  // Whoever answers for another issuer must not give keys for this one (OpenID Connect Discovery 1.0 section 4.3).
  if (metadata['issuer'] !== issuer) throw new Error(`${issuer}: its metadata are those of ${metadata['issuer']}`);
  const url = String(metadata['jwks_uri']);
  if (!/^https?:/.test(url) || (issuer.startsWith('https:') && !url.startsWith('https:'))) {
    throw new Error(`${issuer}: jwks_uri is ${url}`);
  }
  return url;
}

async function fetchObject(url: string, timeoutMs: number): Promise<Record<string, unknown>> {
  const response = await fetch(url, {
    headers: { accept: 'application/jwk-set+json, application/json' },
    redirect: 'error',
    signal: AbortSignal.timeout(timeoutMs),
  });
  if (!response.ok || !response.body) throw new Error(`${url} answered ${response.status}`);
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of response.body) {
    text += decoder.decode(chunk as Uint8Array, { stream: true });
    if (text.length > BYTES_MAX) throw new Error(`${url} answered more than ${BYTES_MAX} bytes`);
  }
  const value: unknown = JSON.parse(text);
  if (typeof value !== 'object' || value === null) throw new Error(`${url} did not answer an object`);
  return value as Record<string, unknown>;
}
