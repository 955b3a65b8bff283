import { Metadata } from '@grpc/grpc-js';
import { Problem } from '@sluice/problem';
import type { TokenCall } from '../tokens/refresh-cookie.js';
import { CLIENT } from '../tokens/token-issuer.js';

/** The members of a request that name its client (RFC 6749 section 2.3.1). */
interface ClientCredentials {
  readonly client_id: string;
  readonly client_secret: string;
}

/**
 * Clients are public: there is one, which need not name itself and has no secret (RFC 6749 section 2.1). One that names another, or
 * shows a secret, in the body or by HTTP Basic, takes itself for somebody who is not known here.
 *
 * @throws Problem UNAUTHENTICATED: `invalid_client` of RFC 6749 section 5.2, with a challenge to who came with `Authorization`
 */
export function checkClient(
  request: ClientCredentials,
  metadata: Metadata | undefined,
  call: TokenCall | undefined,
): void {
  const basic = readBasic(String(metadata?.get('authorization')[0] ?? ''));
  for (const { client_id, client_secret } of basic ? [request, basic] : [request]) {
    const known = client_id === '' || client_id === CLIENT;
    if (known && client_secret === '') continue;
    if (basic) challenge(call);
    throw new Problem(
      'UNAUTHENTICATED',
      known
        ? 'Clients are public and have no secret; leave client_secret out.'
        : `There is no client of this id; the client is ${CLIENT}.`,
      { details: { oauth_error: 'invalid_client' } },
    );
  }
}

/** RFC 7617 section 2; what cannot be read names nobody who is known. */
function readBasic(authorization: string): ClientCredentials | undefined {
  const encoded = /^Basic +(.*)$/i.exec(authorization)?.[1];
  if (encoded === undefined) return undefined;
  const text = Buffer.from(encoded, 'base64').toString();
  const colon = text.indexOf(':');
  if (colon < 1) return { client_id: '(none)', client_secret: '' };
  return { client_id: text.slice(0, colon), client_secret: text.slice(colon + 1) };
}

function challenge(call: TokenCall | undefined): void {
  const metadata = new Metadata();
  metadata.set('www-authenticate', `Basic realm="${CLIENT}"`);
  call?.sendMetadata(metadata);
}
