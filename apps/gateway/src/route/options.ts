import type { Exchange } from '../exchange.js';
import { respond } from '../respond/respond.js';

/** The methods that some path may have. */
const ANY = 'DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT';

/**
 * Pipeline stage: what a path takes, asked by OPTIONS, or the server as a whole by `OPTIONS *` (RFC 9110 section 9.3.7).
 * A path that has a rule for OPTIONS, and one that nobody has, go on to routing.
 */
export function options(exchange: Exchange): void {
  const { transport, routes, path } = exchange;
  if (transport.method !== 'OPTIONS') return;
  if (path === '*') return respond(exchange, 204, [['allow', ANY]], undefined);
  const match = routes.rest.match('OPTIONS', path);
  if (match.kind === 'method_not_allowed') respond(exchange, 204, [['allow', allowed(match.allow)]], undefined);
}

/** The value of `Allow` (RFC 9110 section 10.2.1): what has GET has HEAD, and OPTIONS is answered everywhere. */
export function allowed(methods: readonly string[]): string {
  const all = new Set([...methods, 'OPTIONS']);
  if (all.has('GET')) all.add('HEAD');
  return [...all].sort().join(', ');
}
