import type { JsonWebKeySet } from './key-source.js';

const BYTES_MAX = 256 * 1024;

/**
 * Fetches key sets from one fixed URL over HTTPS (or HTTP, for an issuer on the own network), for `VerifierOptions.keys`.
 * Redirects are refused, so no issuer can send the gateway elsewhere.
 */
export function httpKeySet(url: string, timeoutMs = 3000): () => Promise<JsonWebKeySet> {
  return async () => {
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
    const value = JSON.parse(text) as { keys?: unknown };
    if (!Array.isArray(value.keys)) throw new Error(`${url} did not answer a key set`);
    return { keys: value.keys.filter((key) => typeof key === 'object' && key !== null) };
  };
}
